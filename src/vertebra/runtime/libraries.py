"""Loading the engines, each with its telemetry off."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from typing import Any

from vertebra.runtime.setup import Setup


def no_telemetry() -> None:
    """Switch off what the engines would send home; for before they are imported.

    ONNX Runtime asks the environment (its Privacy.md; since 1.29 it sends from Linux too). OpenVINO
    and NNCF send through a package of their own and do without where it lacks what they import from
    it, so an empty one takes its place; their documented switch is a file in the user's home.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    name = "openvino_telemetry"
    sys.modules.setdefault(name, module_from_spec(ModuleSpec(name, None)))


def import_engine(setup: Setup) -> None:
    """Import what a setup runs in, which takes seconds and is no part of loading a network."""
    if setup.engine == "openvino":
        import_openvino()
    elif not setup.runs_in_torch:
        import_onnxruntime()
    name = "onnxruntime" if setup.engine == "tensorrt" else setup.engine
    import_module(f"vertebra.runtime.engine_{name}")


def import_onnxruntime() -> Any:
    """The module ``onnxruntime``, which then says only errors."""
    no_telemetry()
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # Windows builds before 1.29 know only this
    onnxruntime.set_default_logger_severity(3)
    return onnxruntime


def import_openvino() -> Any:
    """The module ``openvino``."""
    no_telemetry()
    import openvino

    return openvino


def import_nncf() -> Any:
    """The module ``nncf``, which then says only errors; it loads PyTorch."""
    no_telemetry()
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf
