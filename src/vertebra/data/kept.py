"""Decoded images kept in memory, so that small datasets are decoded once and not every epoch."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from torch import Tensor

from vertebra.machine import describe

Key = tuple[int, int]  # (index in the source, channels)


def limit_of(keep_gib: float | None) -> int:
    """In bytes; None is one GiB, or an eighth of the machine's memory if that is less."""
    return min(1 << 30, describe().memory // 8) if keep_gib is None else int(keep_gib * 2**30)


class KeptImages:
    """What was decoded first stays, up to ``limit`` bytes; everything later is decoded each time.

    Only the process that made it keeps images: workers share what was kept before they were forked,
    and each keeping a limit's worth of its own would multiply it. A copy sent to another process is
    empty and stays so. Safe to use from several threads.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._images: dict[Key, Tensor] = {}
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def get(self, key: Key, decode: Callable[[], Tensor]) -> Tensor:
        """The kept image, which must not be written to, or what ``decode`` makes of the file."""
        image = self._images.get(key)
        if image is None:
            image = decode()
            self._keep(key, image)
        return image

    def _keep(self, key: Key, image: Tensor) -> None:
        if os.getpid() != self._owner or self.size >= self.limit:
            return
        with self._lock:
            if key not in self._images and self.size + image.nbytes <= self.limit:
                self._images[key] = image
                self.size += image.nbytes

    def __reduce__(self) -> tuple[type[KeptImages], tuple[int]]:
        return type(self), (0,)
