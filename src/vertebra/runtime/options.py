"""What an engine is asked for besides precision, layout and threads."""

from __future__ import annotations

from vertebra.runtime.availability import has_int8_dot_product, installed_version
from vertebra.runtime.setup import Setup


def options(setup: Setup) -> dict[str, str]:
    """By name, in words: two times are comparable only where these are equal."""
    asked = dict(_ASKED[setup.engine])
    if setup.runs_in_torch and setup.on_gpu:
        asked["tf32"] = "off"
    if setup.engine == "tensorrt":
        asked["fp16"] = "allowed" if setup.precision == "fp16" else "off"
    if setup.precision == "int8":
        asked["quantiser"] = _QUANTISERS[setup.engine]()
    return asked


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
