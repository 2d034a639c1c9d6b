"""Dealing out whole groups: images of one patient, one video, one place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def deal_groups(
    hashes: Ints,
    labels: Ints,
    groups: NDArray[np.int32],
    shares: Sequence[float],
    keep: int | None = None,
) -> Ints:
    """The part (N,) of each sample: whole groups, so that each class comes near its shares.

    Args:
        hashes: of the samples' names (N,); a group's is the least of its own.
        labels: classes of the samples (N,).
        groups: numbers of their groups (N,).
        shares: what each part should get of every class; they sum to 1.
        keep: a part that gets a group of every class, by hash, before anything else is dealt.

    A group goes to the part that lacks most of what it has: the least sum over its classes of
    ((got - due)^2 / due) afterwards. Larger ones go first (by powers of two, so that one more image
    seldom changes the order), as in longest-processing-time scheduling (Graham, 1969), equal ones
    in the order of their hashes. With many groups of about one size a class's count in a part is
    its share to within the largest group; with few large ones no dealing comes near.
    """
    numbers, members = np.unique(groups, return_inverse=True)
    size = np.bincount(members)
    starts, classes, counts = _contents(members, labels, len(numbers))
    firsts = np.full(len(numbers), np.iinfo(np.int64).max)
    np.minimum.at(firsts, members, hashes)
    due = np.outer(shares, np.bincount(labels)).astype(np.float64)
    dealing = _Dealing(due, starts, classes, counts)
    if keep is not None:
        for group in _one_of_each(np.argsort(firsts, kind="stable"), dealing):
            dealing.give(group, keep)
    magnitude = np.floor(np.log2(size)).astype(np.int64)
    for group in np.lexsort((firsts, -magnitude)).tolist():
        if dealing.part_of[group] < 0:
            dealing.give(group, dealing.best(group))
    return dealing.part_of[members]


def _contents(members: Ints, labels: Ints, groups: int) -> tuple[Ints, Ints, Ints]:
    """How many of which classes each group holds: its are from ``starts[g]`` to ``starts[g+1]``."""
    classes = int(labels.max(initial=0)) + 1
    pairs, counts = np.unique(members * classes + labels, return_counts=True)
    starts = np.searchsorted(pairs // classes, np.arange(groups + 1))
    return starts, pairs % classes, counts


def _one_of_each(order: Ints, dealing: _Dealing) -> list[int]:
    """Groups that together hold every class, the first ones in ``order`` that add one."""
    found, covered = [], np.zeros(dealing.due.shape[1], dtype=np.bool_)
    for group in order.tolist():
        classes = dealing.contents(group)[0]
        if not covered[classes].all():
            covered[classes] = True
            found.append(group)
    return found


class _Dealing:
    """Who has what so far: ``due`` and ``got`` are (parts, classes) counts."""

    def __init__(self, due: NDArray[np.float64], starts: Ints, classes: Ints, counts: Ints) -> None:
        self.due = due
        self.got = np.zeros_like(due)
        self.part_of = np.full(len(starts) - 1, -1, dtype=np.int64)
        self._starts, self._classes, self._counts = starts, classes, counts

    def contents(self, group: int) -> tuple[Ints, Ints]:
        """The classes that a group holds, and how many of each."""
        part = slice(self._starts[group], self._starts[group + 1])
        return self._classes[part], self._counts[part]

    def best(self, group: int) -> int:
        """The part whose deviation from its due grows least; the largest one at a tie."""
        classes, counts = self.contents(group)
        due, got = self.due[:, classes], self.got[:, classes]
        growth = (counts * (counts + 2 * (got - due)) / np.maximum(due, 1e-9)).sum(axis=1)
        # Rounded: shares of 1/5 differ in the last digit, and a tie is to be one.
        return int(np.lexsort((-self.due.sum(axis=1).round(6), growth.round(9)))[0])

    def give(self, group: int, part: int) -> None:
        """Put a group into a part."""
        classes, counts = self.contents(group)
        self.got[part, classes] += counts
        self.part_of[group] = part
