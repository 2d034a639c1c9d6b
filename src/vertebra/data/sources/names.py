"""Names of many samples in two arrays: a million Python strings would take 100 MB and more."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

# Names that are handled at a time where that takes memory.
_BLOCK = 65536


class PackedNames(Sequence[str]):
    """A sequence of N strings as one buffer of UTF-8.

    ``buffer`` uint8 (bytes,); name ``i`` lies in it from ``offsets[i]`` to ``offsets[i + 1]``,
    ``offsets`` int64 (N + 1,). Made strings are not kept.
    """

    __slots__ = ("buffer", "offsets")

    def __init__(self, buffer: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self.buffer = buffer
        self.offsets = offsets

    @classmethod
    def of(cls, names: Iterable[str]) -> PackedNames:
        """The names in their order."""
        builder = NameBuilder()
        builder.add(names)
        return builder.finish()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> PackedNames: ...
    def __getitem__(self, index: int | slice) -> str | PackedNames:
        if isinstance(index, slice):
            return self.take(np.arange(*index.indices(len(self)), dtype=np.int64))
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError("no such name")
        return self.buffer[self.offsets[index] : self.offsets[index + 1]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _BLOCK):
            offsets = self.offsets[first : first + _BLOCK + 1]
            block = self.buffer[offsets[0] : offsets[-1]].tobytes()
            ends = (offsets - offsets[0]).tolist()
            for start, end in itertools.pairwise(ends):
                yield block[start:end].decode()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PackedNames):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def take(self, order: NDArray[np.int64]) -> PackedNames:
        """The names at the places ``order`` (n,), packed anew."""
        starts, lengths = self.offsets[:-1][order], np.diff(self.offsets)[order]
        offsets = np.zeros(len(order) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        buffer = np.empty(int(offsets[-1]), dtype=np.uint8)
        for first in range(0, len(order), _BLOCK):
            part = slice(first, first + _BLOCK)
            low, high = int(offsets[first]), int(offsets[min(first + _BLOCK, len(order))])
            shifts = np.repeat(starts[part] - offsets[:-1][part], lengths[part])
            buffer[low:high] = self.buffer[shifts + np.arange(low, high)]
        return PackedNames(buffer, offsets)

    def order(self) -> NDArray[np.int64]:
        """Places (N,) of the names in ascending order, as Python sorts strings; stable.

        A radix sort by eight bytes at a time, from the last ones: it needs a few numbers a name,
        however long the names are. UTF-8 sorts by bytes as Unicode does by code points.
        """
        order = np.arange(len(self), dtype=np.int64)
        for column in reversed(range(self._columns())):
            keys = self._column(column)
            if len(keys) and (keys != keys[0]).any():
                order = order[np.argsort(keys[order], kind="stable")]
        return order

    def repeats(self) -> NDArray[np.bool_]:
        """Which names (N,) equal the one before them."""
        same = np.zeros(len(self), dtype=np.bool_)
        lengths = np.diff(self.offsets)
        same[1:] = lengths[1:] == lengths[:-1]
        for column in range(self._columns()):
            keys = self._column(column)
            same[1:] &= keys[1:] == keys[:-1]
        return same

    def _columns(self) -> int:
        """How many times eight bytes the longest name has."""
        return int(-(-np.diff(self.offsets).max(initial=0) // 8))

    def _column(self, column: int) -> NDArray[np.uint64]:
        """Eight bytes of each name as one number (N,); zeros, which no name has, after its end."""
        keys = np.zeros(len(self), dtype=np.uint64)
        starts, ends = self.offsets[:-1], self.offsets[1:]
        for byte in range(8 * column, 8 * column + 8):
            places = starts + byte
            there = places < ends
            keys <<= np.uint64(8)
            keys[there] |= self.buffer[places[there]]
        return keys

    def __reduce__(self) -> tuple[type[PackedNames], tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        return type(self), (self.buffer, self.offsets)


class NameBuilder:
    """Takes names as they come and packs them."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lengths = array("q")

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, names: Iterable[str], prefix: str = "") -> None:
        """Append ``prefix`` + name for each of ``names``.

        Raises:
            UnicodeEncodeError: a name is no text; nothing of ``names`` is appended then.
        """
        start = prefix.encode()
        encoded = [start + name.encode() for name in names]
        self._buffer += b"".join(encoded)
        self._lengths.extend(map(len, encoded))

    def finish(self) -> PackedNames:
        """All names; the builder is not to be used afterwards."""
        offsets = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum(np.frombuffer(self._lengths, dtype=np.int64), out=offsets[1:])
        return PackedNames(np.frombuffer(self._buffer, dtype=np.uint8), offsets)
