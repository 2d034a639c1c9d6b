"""The process that tells how fast this machine is: ``python -m vertebra.bench.pacer``."""

from __future__ import annotations

import statistics
import time

import numpy as np

from vertebra.bench.answering import Answer, answer_orders

# Side of the matrices, and products whose median is told: 20 ms on two cores.
_SIDE, _PRODUCTS = 512, 12


class Pacer:
    """What the process holds: a matrix, which its library multiplies on all its threads."""

    def __init__(self) -> None:
        self._matrix = np.ones((_SIDE, _SIDE), dtype=np.float32)
        self._product = np.empty_like(self._matrix)

    def obey(self, _order: str, _rest: object) -> Answer:
        """Seconds of a product."""
        tries = []
        for _ in range(_PRODUCTS):
            start = time.perf_counter()
            np.matmul(self._matrix, self._matrix, out=self._product)
            tries.append(time.perf_counter() - start)
        return {"seconds": statistics.median(tries)}


if __name__ == "__main__":
    answer_orders(Pacer().obey)
