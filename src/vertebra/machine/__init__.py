"""This machine: what it is, what of it we may use, and the one loop that times a call."""

from vertebra.machine.description import Machine, describe, usable_cores
from vertebra.machine.memory import (
    can_keep_freed_memory,
    give_back_freed_memory,
    keep_freed_memory,
)
from vertebra.machine.roofline import Roofline, measure_roofline
from vertebra.machine.timing import Timing, percentile, time_call, time_calls

__all__ = [
    "Machine",
    "Roofline",
    "Timing",
    "can_keep_freed_memory",
    "describe",
    "give_back_freed_memory",
    "keep_freed_memory",
    "measure_roofline",
    "percentile",
    "time_call",
    "time_calls",
    "usable_cores",
]
