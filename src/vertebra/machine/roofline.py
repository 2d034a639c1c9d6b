"""What this machine can do at most, measured in about two seconds: arithmetic and traffic."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_SIDE = 1536  # of the matrices: large enough to reach the peak, small enough for one try in 0.1 s
_COPIED = 1 << 28  # bytes of the array that is copied: far beyond any cache


@dataclass(frozen=True)
class Roofline:
    """The two ceilings of Williams, Waterman and Patterson, 2009 (Communications of the ACM 52).

    ``macs_per_second`` by precision, in a product of large matrices; ``bytes_per_second`` read and
    written in a copy.
    """

    macs_per_second: Mapping[str, float]
    bytes_per_second: float
    threads: int

    def ridge(self, precision: str = "fp32") -> float:
        """MACs a byte below which memory is the limit, and above which arithmetic is."""
        return self.macs_per_second[precision] / self.bytes_per_second


def measure_roofline(seconds: float = 2.0, threads: int | None = None) -> Roofline:
    """Measure both ceilings on the CPU; the best of the tries that fit into ``seconds``.

    ``threads``: as many as PyTorch uses, if None; that number is left as it was.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        share = seconds / 3
        rates = {
            name: _SIDE**3 / _best(_product(dtype), share)
            for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
        }
        source = torch.ones(_COPIED // 4)
        target = torch.empty_like(source)
        copied = 2 * _COPIED / _best(lambda: target.copy_(source), share)
        return Roofline(rates, copied, torch.get_num_threads())
    finally:
        torch.set_num_threads(before)


def _product(dtype: Any) -> Callable[[], object]:
    import torch

    left, right = (torch.ones((_SIDE, _SIDE), dtype=dtype) for _ in range(2))
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out)


def _best(call: Callable[[], object], seconds: float) -> float:
    """The shortest of as many calls as fit, at least three, after one that warms up."""
    call()
    best, begun, calls = math.inf, time.perf_counter(), 0
    while calls < 3 or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        calls += 1
    return best
