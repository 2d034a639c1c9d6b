"""One network inside one engine: eager, compiled, ONNX Runtime, OpenVINO.

A process with PyTorch makes the files (:func:`make`); one without it loads and runs them
(:func:`load`). Importing this room loads no engine.
"""

from vertebra.runtime.artifact import Artifact, precision_on_disk
from vertebra.runtime.availability import has_compiler, unavailable, version
from vertebra.runtime.export import Exported, export_onnx
from vertebra.runtime.libraries import import_engine, no_telemetry
from vertebra.runtime.load import load
from vertebra.runtime.make import make
from vertebra.runtime.options import KEEPS_FP32, options
from vertebra.runtime.quantise import quantise_onnx, quantise_openvino, to_openvino
from vertebra.runtime.session import LayerTime, Session
from vertebra.runtime.setup import ENGINES, LAYOUTS, PRECISIONS, TORCH_ENGINES, Setup

__all__ = [
    "ENGINES",
    "KEEPS_FP32",
    "LAYOUTS",
    "PRECISIONS",
    "TORCH_ENGINES",
    "Artifact",
    "Exported",
    "LayerTime",
    "Session",
    "Setup",
    "export_onnx",
    "has_compiler",
    "import_engine",
    "load",
    "make",
    "no_telemetry",
    "options",
    "precision_on_disk",
    "quantise_onnx",
    "quantise_openvino",
    "to_openvino",
    "unavailable",
    "version",
]
