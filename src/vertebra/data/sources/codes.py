"""Words that come one an image, as numbers: each word is held once."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


class Codes:
    """Numbers of words in the order in which they first came; ``words`` are the distinct ones."""

    def __init__(self) -> None:
        self._code: dict[str, int] = {}
        self._codes = array("i")

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def words(self) -> list[str]:
        """The word of each number."""
        return list(self._code)

    def add(self, words: Iterable[str]) -> None:
        """Append a number for each word."""
        code = self._code
        self._codes.extend(code.setdefault(word, len(code)) for word in words)

    def numbers(self) -> NDArray[np.int32]:
        """The number of each word that was added (N,)."""
        return np.frombuffer(self._codes, dtype=np.int32)

    def labels(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """The place in ``classes`` of each word that was added (N,)."""
        place = {name: label for label, name in enumerate(classes)}
        of_code = np.array([place[word] for word in self._code], dtype=np.int64)
        labels: NDArray[np.int64] = of_code[self.numbers()]
        return labels


def sorted_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Names in the order of their labels: as strings, but as numbers where all are integers."""
    if all(re.fullmatch(r"-?[0-9]+", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
