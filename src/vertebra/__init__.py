"""vertebra: a workbench for vision backbones.

``import vertebra as vb`` is cheap: a room (``vb.zoo``, ``vb.anatomy``, ``vb.train``, ...) is
loaded when it is first named, so a program that only reads a run never pays for PyTorch.
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"

_ROOMS = (
    "anatomy",
    "bench",
    "choice",
    "core",
    "data",
    "evidence",
    "machine",
    "nn",
    "report",
    "runs",
    "runtime",
    "train",
    "zoo",
)


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return importlib.import_module(f"vertebra.{name}")
    raise AttributeError(f"module 'vertebra' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
