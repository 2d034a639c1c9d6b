"""What a network costs on this machine: measured side by side, with its noise, and kept.

Loads no PyTorch in the process that asks; each network runs in one of its own. Names are loaded
when they are first asked for, since those processes come through here too.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vertebra.bench.grouping import groups
    from vertebra.bench.measuring import Floor, Outcome, measure, run
    from vertebra.bench.plan import WORKLOADS, Cell, cells
    from vertebra.bench.statistics import LEAST_CALLS, Estimate, Ratio

_WHERE = {
    "LEAST_CALLS": "statistics",
    "WORKLOADS": "plan",
    "Cell": "plan",
    "Estimate": "statistics",
    "Floor": "measuring",
    "Outcome": "measuring",
    "Ratio": "statistics",
    "cells": "plan",
    "groups": "grouping",
    "measure": "measuring",
    "run": "measuring",
}

__all__ = [
    "LEAST_CALLS",
    "WORKLOADS",
    "Cell",
    "Estimate",
    "Floor",
    "Outcome",
    "Ratio",
    "cells",
    "groups",
    "measure",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'vertebra.bench' has no attribute {name!r}")
    return getattr(importlib.import_module(f"vertebra.bench.{_WHERE[name]}"), name)
