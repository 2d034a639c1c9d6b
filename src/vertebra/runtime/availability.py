"""What can run here, told without loading any engine."""

from __future__ import annotations

import functools
import os
import shutil
from importlib import metadata, util

from vertebra.core import VertebraError, unknown
from vertebra.machine import Machine, describe
from vertebra.runtime.setup import ENGINES, Setup

# The extra that installs a package, by the name that it is imported by.
_EXTRAS = {
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "nncf": "openvino",
}
# Packages that an engine needs; a network reaches each of them as an ONNX file.
_NEEDS = {
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino", "onnx"),
    "tensorrt": ("onnxruntime", "onnx"),
}
# What an engine's package may be called where packages are bought.
_DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "tensorrt": ("onnxruntime-gpu", "onnxruntime"),
}
_GPU_ONLY = ("cudagraphs", "tensorrt")
_CPU_ONLY = {"onnxruntime": "ONNX Runtime's CPU provider", "openvino": "OpenVINO's CPU plugin"}


def unavailable(setup: Setup) -> str | None:
    """Why this machine cannot run the cell, in words; None where it can.

    Takes milliseconds: packages are looked for, not loaded; PyTorch is asked only about a GPU.
    """
    checks = (_no_device, _no_package, _no_precision, _no_tool)
    return next((reason for check in checks if (reason := check(setup)) is not None), None)


def require(setup: Setup) -> None:
    """Refuse a cell that cannot run here.

    Raises:
        VertebraError: with the reason.
    """
    reason = unavailable(setup)
    if reason is not None:
        raise VertebraError(f"{setup.engine} in {setup.precision} cannot run here: {reason}")


def version(engine: str) -> str:
    """Of the library that runs an engine, from its metadata.

    Raises:
        VertebraError: no such engine, or it is not installed.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    names = _DISTRIBUTIONS.get(engine, ("torch",))
    found = [text for name in names if (text := installed_version(name)) is not None]
    if not found:
        raise VertebraError(_not_installed(engine))
    return found[0]


def installed_version(distribution: str) -> str | None:
    """Of an installed package; None where it is not."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def has_compiler() -> bool:
    """Whether there is a C++ compiler, which torch.compile needs on a CPU."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return any(name and shutil.which(name) for name in names)


def has_int8_dot_product() -> bool:
    """Whether 8-bit products are summed in 32 bits in hardware.

    Without it an x86 adds pairs of them in 16 bits, where they saturate.
    """
    machine = _this_machine()
    flags = {"avx512_vnni", "avx_vnni", "amx_int8"}
    return "x86" not in machine.system or bool(flags & set(machine.instruction_sets))


@functools.cache
def _this_machine() -> Machine:
    return describe()


def _no_device(setup: Setup) -> str | None:
    if not setup.on_gpu:
        wanted = f"it needs a GPU; ask for device cuda, not {setup.device}"
        return wanted if setup.engine in _GPU_ONLY else None
    if setup.engine in _CPU_ONLY:
        return f"{_CPU_ONLY[setup.engine]} is the one that is driven here; ask for device cpu"
    import torch

    if not torch.cuda.is_available():
        return "no GPU"
    count, index = torch.cuda.device_count(), int(setup.device.partition(":")[2] or 0)
    return f"no GPU {index}: PyTorch finds {count}" if index >= count else None


def _no_package(setup: Setup) -> str | None:
    needed = _NEEDS.get(setup.engine, ())
    if setup.engine == "openvino" and setup.precision == "int8":
        needed = (*needed, "nncf")
    missing = [name for name in needed if util.find_spec(name) is None]
    if missing:
        return _not_installed(missing[0])
    if setup.engine == "tensorrt":
        from vertebra.runtime.libraries import import_onnxruntime

        if "TensorrtExecutionProvider" not in import_onnxruntime().get_available_providers():
            return "TensorRT is not installed, or this ONNX Runtime is built without it"
    return None


def _not_installed(name: str) -> str:
    extra = _EXTRAS.get(name)
    return f"{name} is not installed" + (f": pip install 'vertebra[{extra}]'" if extra else "")


def _no_precision(setup: Setup) -> str | None:
    precision = setup.precision
    if precision == "int8" and setup.runs_in_torch:
        return "PyTorch runs no quantised network here; onnxruntime and openvino do"
    if setup.engine == "tensorrt" and precision not in ("fp32", "fp16"):
        return f"{precision} in TensorRT is not supported here"
    if precision == "bf16" and setup.on_gpu:
        import torch

        real = torch.cuda.is_bf16_supported(including_emulation=False)
        return None if real else "this GPU does not multiply bfloat16 in hardware"
    if setup.on_gpu:
        return None
    if precision == "fp16":
        return "fp16 on a CPU is emulated"
    if precision == "bf16" and setup.engine == "onnxruntime":
        return "ONNX Runtime's CPU provider has no bf16 convolution"
    if precision == "bf16" and not _this_machine().has_bf16:
        return "this CPU does not multiply bfloat16 in hardware"
    return None


def _no_tool(setup: Setup) -> str | None:
    if setup.engine != "compile":
        return None
    if setup.on_gpu:
        found = util.find_spec("triton") is not None
        return None if found else "no Triton, which torch.compile needs on a GPU"
    return None if has_compiler() else "no C++ compiler for torch.compile (c++, g++ or clang++)"
