"""An open-loop server: requests come when they come, whether or not the last one is answered.

Arrivals are a Poisson process and each is answered in turn, one at a time; a request's time runs
from its arrival, so that waiting counts (a loop that asks only when it has been answered leaves it
out). The server scenario of MLPerf Inference (Reddi et al., 2020, arXiv:1911.02549).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vertebra.core import rng

if TYPE_CHECKING:
    from vertebra.evidence import Measurement

# Share of the time that a server works above which it does not keep up.
_OVERLOADED = 0.97


@dataclass(frozen=True)
class Served:
    """Seconds from arrival to answer of each request, and the share of the time spent working."""

    samples: tuple[float, ...]
    busy: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data under the names of this class."""
        return {"samples": list(self.samples), "busy": self.busy, "seconds": self.seconds}


def arrivals(rate: float, requests: int, seed: int) -> list[float]:
    """Seconds at which each request comes, from the first at some time after 0."""
    gaps = rng(seed, "arrivals").exponential(1 / rate, requests)
    return [float(moment) for moment in gaps.cumsum()]


def serve(
    call: Callable[[], object],
    rate: float,
    requests: int,
    seed: int,
    now: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Served:
    """Answer ``requests`` requests that come at ``rate`` a second by ``call``."""
    moments: Sequence[float] = arrivals(rate, requests, seed)
    begun, working, samples = now(), 0.0, []
    for moment in moments:
        wait = begun + moment - now()
        if wait > 0:
            sleep(wait)
        start = now()
        call()
        end = now()
        working += end - start
        samples.append(end - begun - moment)
    total = now() - begun
    return Served(tuple(samples), working / total, total)


def is_overloaded(measurement: Measurement) -> bool:
    """Whether requests waited ever longer, so that its times say how long it was asked."""
    return float(measurement.extra.get("busy", 0.0)) > _OVERLOADED
