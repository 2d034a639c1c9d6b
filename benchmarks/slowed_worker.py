"""A worker of ``vertebra bench`` that can be told to take longer, for ``bench_truth.py``."""

from __future__ import annotations

import time
from collections.abc import Callable

from vertebra.bench.answering import Answer, answer_orders
from vertebra.bench.worker import Worker


class SlowedWorker(Worker):
    """After the order "slow_down" each call lasts ``factor`` times what a call took until then."""

    def slow_down(self, factor: float) -> Answer:
        """From now on."""
        more = (factor - 1) * self.settle(2.0)["seconds"]
        self._subject.call = longer(self._subject.call, more)
        return {}


def longer(call: Callable[[], object], seconds: float) -> Callable[[], object]:
    """The call, then so many seconds of work."""

    def slowed() -> object:
        answer = call()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass
        return answer

    return slowed


if __name__ == "__main__":
    answer_orders(SlowedWorker().obey)
