"""The process in which one network runs in one engine: ``python -m vertebra.bench.worker``.

It holds only what its engine needs, so that its memory is that of a process that serves the
network, and does nothing between two orders.
"""

from __future__ import annotations

import time
from typing import Any

from vertebra.bench.answering import Answer, answer_orders
from vertebra.bench.memory import peak, peak_on_gpus, reset_peak
from vertebra.bench.serving import serve
from vertebra.bench.subject import Subject, keeps_freed_memory, opener
from vertebra.core import VertebraError
from vertebra.machine import keep_freed_memory, time_call
from vertebra.runtime import Setup

# Calls of a round of warming up, rounds at most, and the change between two that counts as none.
_WARM_CALLS, _WARM_ROUNDS, _SETTLED = 4, 12, 0.03


class Worker:
    """What the process holds: one subject, once it is loaded. Its public methods are the orders."""

    def __init__(self) -> None:
        self._loaded: Subject | None = None

    def obey(self, order: str, rest: dict[str, Any]) -> Answer:
        """Carry out one order."""
        obeyed: Answer = getattr(self, order)(**rest)
        return obeyed

    def load(self, **spec: Any) -> Answer:
        """Make the subject ready and call it once."""
        way = opener(spec)
        way.import_engine()
        if keeps_freed_memory(Setup(**spec["setup"])) and not keep_freed_memory():
            raise VertebraError("the C library refuses to keep freed memory")
        reset_peak()
        self._loaded = subject = way.load()
        start = time.perf_counter()
        subject.call()
        first = time.perf_counter() - start
        return {
            "load": subject.load_seconds,
            "first": first,
            "file": subject.file_bytes,
            "parity": subject.parity(),
        }

    def settle(self, seconds: float) -> Answer:
        """Call it until two rounds in a row take the same, or for so long; the last median.

        A CPU changes its clock, an allocator finds its blocks, an engine may still tune.
        """
        begun, before, now = time.perf_counter(), 0.0, 0.0
        for _ in range(_WARM_ROUNDS):
            now = time_call(self._subject.call, rounds=_WARM_CALLS, warmup=0).p50
            settled = before and abs(now / before - 1) < _SETTLED
            if settled or time.perf_counter() - begun > seconds:
                break
            before = now
        return {"seconds": now}

    def time(self, calls: int, warm: int) -> Answer:
        """The seconds of so many calls, after some that are not counted."""
        return {"samples": time_call(self._subject.call, rounds=calls, warmup=warm).samples}

    def time_all(self, calls: int, warm: int) -> Answer:
        """So many calls given at once: of each its share of the seconds until all were answered."""
        self._subject.call_all(warm)
        start = time.perf_counter()
        self._subject.call_all(calls)
        return {"samples": [(time.perf_counter() - start) / calls] * calls}

    def serve(self, rate: float, requests: int, seed: int) -> Answer:
        """Be a server for so many requests."""
        return serve(self._subject.call, rate, requests, seed).to_dict()

    def share(self) -> Answer:
        """How much ran in the precision that was asked for; an error if most did not."""
        return {"share": self._subject.share()}

    def layers(self) -> Answer:
        """Time by layer, by the engine's own account."""
        return {"layers": self._subject.layers()}

    def memory(self) -> Answer:
        """Bytes, the most since before loading: of the host's memory, and of GPUs if of any."""
        return {"host": peak(), "gpus": peak_on_gpus()}

    @property
    def _subject(self) -> Subject:
        if self._loaded is None:
            raise VertebraError("nothing is loaded yet")
        return self._loaded


if __name__ == "__main__":
    answer_orders(Worker().obey)
