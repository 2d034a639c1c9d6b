"""Pairs of hashes that differ in few bits, without comparing all with all.

Pigeonhole: two hashes of 64 bits that differ in at most 7 differ in at most one of the 16 bits of
some quarter. So only those are compared that agree in a quarter or differ in one bit of it (the
multi-index of Norouzi, Punjani and Fleet, 2012, arXiv:1307.2982). Of a million random hashes these
are 5e8 pairs in place of 5e11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

MOST_BITS = 7  # what the pigeonhole holds for
_BANDS, _WIDTH = 4, 16
# Comparisons after which a search ends: hashes that clump so much tell nothing apart.
MOST_COMPARISONS = 5_000_000_000
# Pairs that are compared at a time: 16 bytes each, and a few times that while they are made.
_AT_ONCE = 1 << 20

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]


def comparisons(hashes: Hashes) -> int:
    """How many pairs a search compares."""
    total = 0
    for band in range(_BANDS):
        counts = np.bincount(_keys(hashes, band), minlength=1 << _WIDTH)
        total += int((counts * (counts - 1) // 2).sum())
        every = np.arange(1 << _WIDTH)
        total += sum(int((counts * counts[every ^ (1 << bit)]).sum()) // 2 for bit in range(_WIDTH))
    return total


def near_pairs(
    hashes: Hashes, bits: int, keep: Callable[[Ints, Ints], NDArray[np.bool_]]
) -> tuple[Ints, Ints]:
    """Places (n,), (n,) of the pairs that differ in at most ``bits`` bits and that ``keep`` keeps.

    Each pair once, the lower place first, in ascending order. ``keep`` is asked of many pairs at a
    time; what it refuses takes no memory.
    """
    assert bits <= MOST_BITS
    found = [np.empty(0, dtype=np.int64)]
    for band in range(_BANDS):
        for one, other in _candidates(hashes, band):
            near = np.bitwise_count(hashes[one] ^ hashes[other]) <= bits
            low = np.minimum(one[near], other[near])
            high = np.maximum(one[near], other[near])
            kept = keep(low, high)
            found.append(low[kept] * len(hashes) + high[kept])
    pairs = np.unique(np.concatenate(found))
    return pairs // max(len(hashes), 1), pairs % max(len(hashes), 1)


def _keys(hashes: Hashes, band: int) -> Ints:
    part = (hashes >> np.uint64(_WIDTH * band)) & np.uint64((1 << _WIDTH) - 1)
    return part.astype(np.int64)


def _candidates(hashes: Hashes, band: int) -> Iterator[tuple[Ints, Ints]]:
    """Pairs whose quarter ``band`` differs in one bit or none, each once, some at a time."""
    keys = _keys(hashes, band)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    ends = np.cumsum(np.bincount(keys, minlength=1 << _WIDTH))
    starts = np.concatenate([[0], ends[:-1]])
    place = np.arange(len(order))
    yield from _ranges(order, place + 1, ends[keys])
    for bit in range(_WIDTH):
        other = keys | (1 << bit)
        lower = other != keys  # from the one without the bit, or each would come twice
        yield from _ranges(order, starts[other], np.where(lower, ends[other], starts[other]))


def _ranges(order: Ints, first: Ints, last: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Element i of ``order`` with those at the places ``first[i]`` to ``last[i]``."""
    lengths = last - first
    total = np.cumsum(lengths)
    begin = 0
    while begin < len(order):
        before = total[begin - 1] if begin else 0
        end = max(int(np.searchsorted(total, before + _AT_ONCE, side="right")), begin + 1)
        some = lengths[begin:end]
        # Runs of consecutive places, one after another, without a loop over them.
        shifts = np.repeat(first[begin:end] - (np.cumsum(some) - some), some)
        partners = shifts + np.arange(int(some.sum()))
        yield np.repeat(order[begin:end], some), order[partners]
        begin = end
