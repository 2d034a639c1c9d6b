"""What an engine is asked for besides precision, layout and threads."""

from __future__ import annotations

import os

from vertebra.runtime.availability import has_int8_dot_product, installed_version
from vertebra.runtime.setup import Setup


def options(setup: Setup) -> dict[str, str]:
    """By name, in words: two times are comparable only where these are equal."""
    asked = {**_ASKED[setup.engine], **_environment(setup)}
    if setup.engine == "openvino" and setup.overlap:
        asked |= {"hint": "throughput", "streams": "auto"}
    if not setup.runs_in_torch:
        asked["exporter"] = f"torch {installed_version('torch')}"
    if setup.on_gpu:
        asked["tf32"] = "off"
    if setup.engine == "tensorrt":
        asked["fp16"] = "allowed" if setup.precision == "fp16" else "off"
    if setup.precision == "int8" and setup.engine in _QUANTISERS:
        asked["quantiser"] = _QUANTISERS[setup.engine]()
    return asked


def _environment(setup: Setup) -> dict[str, str]:
    """What is set in the environment that the libraries read, and that changes how fast they are.

    Without what a measuring process is told itself, :data:`KEEPS_FP32` and the number of threads.
    """
    read = (*_READ, *_WHICH_GPU) if setup.on_gpu else _READ
    return {
        name: os.environ[name]
        for name in sorted(os.environ)
        if name.startswith(read) and name not in _TOLD
    }


# These make float32 products of fewer bits, so that what was asked for would not be what ran: None
# takes one away. TensorRT does so by itself; PyTorch is told not to.
KEEPS_FP32 = {
    "DNNL_DEFAULT_FPMATH_MODE": None,
    "ONEDNN_DEFAULT_FPMATH_MODE": None,
    "NVIDIA_TF32_OVERRIDE": "0",
}
_TOLD = (*KEEPS_FP32, "OMP_NUM_THREADS", "ORT_DISABLE_TELEMETRY")
_LIBRARIES = "OMP_ KMP_ GOMP_ MKL_ ONEDNN_ DNNL_ ORT_ TORCHINDUCTOR_ CUBLAS_ CUDNN_"
_READ = (*_LIBRARIES.split(), "ATEN_CPU_CAPABILITY", "GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_")
# Which one is meant by "cuda".
_WHICH_GPU = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")

# Inductor's freezing is off: measured in docs/decisions/0017.
_COMPILED = {"backend": "inductor", "graph": "whole", "shapes": "static", "freezing": "off"}
_ONNX_RUNTIME = {"graph": "all optimisations", "execution": "sequential", "spinning": "on"}

_ASKED = {
    "eager": {},
    "compile": _COMPILED,
    "cudagraphs": {"capture": "whole"},
    "onnxruntime": _ONNX_RUNTIME,
    "openvino": {
        "hint": "latency",
        "streams": "1",
        "pinning": "off",
        "hyper_threading": "on",
        "rest": "f32",
    },
    "tensorrt": _ONNX_RUNTIME,
}


def _onnxruntime_quantiser() -> str:
    bits = 8 if has_int8_dot_product() else 7
    return f"static, activations u8 by tensor, weights s{bits} by channel, min-max"


def _openvino_quantiser() -> str:
    return f"nncf {installed_version('nncf')}, mixed preset"


_QUANTISERS = {"onnxruntime": _onnxruntime_quantiser, "openvino": _openvino_quantiser}
