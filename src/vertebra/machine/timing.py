"""The one timing loop, for comparing calls side by side."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Durations of repeated calls, in seconds, in the order in which they were made."""

    samples: tuple[float, ...]

    @property
    def p50(self) -> float:
        """Median duration."""
        return statistics.median(self.samples)

    @property
    def p90(self) -> float:
        """The duration that nine calls in ten stay within (nearest rank)."""
        return percentile(self.samples, 90)


def percentile(samples: Sequence[float], percent: float) -> float:
    """The least sample that ``percent`` of all do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered) - 1e-9) - 1)]


def time_calls(
    calls: Mapping[str, Callable[[], object]], *, rounds: int = 10, warmup: int = 2
) -> dict[str, Timing]:
    """Time several calls side by side: every other round runs them in the reverse order.

    A machine whose speed drifts then favours none of them (A B, B A, A B, ...). The garbage
    collector is off while a call runs. A call that queues work elsewhere, as on a GPU, has to wait
    for it itself.
    """
    names = list(calls)
    for _ in range(warmup):
        for name in names:
            calls[name]()
    samples: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds):
        for name in names if index % 2 == 0 else reversed(names):
            samples[name].append(_seconds(calls[name]))
    return {name: Timing(tuple(values)) for name, values in samples.items()}


def time_call(call: Callable[[], object], *, rounds: int = 10, warmup: int = 2) -> Timing:
    """Time one call; see :func:`time_calls`."""
    return time_calls({"call": call}, rounds=rounds, warmup=warmup)["call"]


def _seconds(call: Callable[[], object]) -> float:
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    finally:
        if collecting:
            gc.enable()
