"""Images that are there more than once: the same file, or the same picture in another file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vertebra.data.inspection.neighbours import MOST_COMPARISONS, comparisons, near_pairs
from vertebra.data.inspection.scan import Scan
from vertebra.data.inspection.signature import agreement

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Measured in docs/decisions/0013.
MOST_BITS = 6
# (agreement from which two pictures are one, down to where none should be): the second pair is
# for pictures of one kind, whose likenesses shade into one another.
LEVELS = ((0.98, 0.94), (0.995, 0.985))
# Rounds of gathering images of equal hash around the first of them.
_ROUNDS = 4


@dataclass(frozen=True)
class Duplicates:
    """Groups of images that are one; G groups, M images.

    ``members`` (M,) are places in the scan, group after group, ascending in each; group g has those
    from ``starts[g]`` to ``starts[g + 1]``, and groups are in the order of their first members.
    ``exact`` (G,): all files of a group are equal to the byte. ``agreements`` (G,): the lowest
    agreement that joined a group, 1 for equal files. ``notes``: what could not be searched.
    """

    members: Ints
    starts: Ints
    exact: NDArray[np.bool_]
    agreements: Floats
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, group: int) -> Ints:
        return self.members[self.starts[group] : self.starts[group + 1]]

    def __iter__(self) -> Iterator[Ints]:
        return (self[group] for group in range(len(self)))

    @property
    def groups(self) -> Ints:
        """The group of each member (M,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))


def find_duplicates(scan: Scan) -> Duplicates:
    """Equal files, and pictures that agree, of all that could be decoded.

    Equal files are told by their digests. Of others those are compared whose hashes differ in at
    most 6 bits, and they are one picture where their signatures agree to 0.98. Where as many pairs
    agree a little less, the pictures are of one kind, as digits are, and shade into one another:
    then it takes 0.995, with a gap below that too, or none is reported and a note says so.
    """
    seen = np.flatnonzero(scan.seen)
    first = first_equal(scan.digests[seen])
    same = np.flatnonzero(first != np.arange(len(seen)))
    one, other = seen[first[same]], seen[same]
    alone = np.zeros(len(scan.seen), dtype=np.bool_)
    alone[seen[first]] = True
    near_one, near_other, agree, notes = _near(scan, np.flatnonzero(alone & scan.hashed))
    return _grouped(
        np.concatenate([one, near_one]),
        np.concatenate([other, near_other]),
        np.concatenate([np.ones(len(one)), agree]),
        np.concatenate([np.ones(len(one), np.bool_), np.zeros(len(near_one), np.bool_)]),
        len(scan.seen),
        notes,
    )


def first_equal(digests: NDArray[np.uint64]) -> Ints:
    """The first place (n,) with the same digest as each one's."""
    order = np.lexsort((np.arange(len(digests)), digests[:, 1], digests[:, 0]))
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
    found = np.empty(len(order), dtype=np.int64)
    found[order] = order[np.flatnonzero(new)[np.cumsum(new) - 1]]
    return found


def _near(scan: Scan, places: Ints) -> tuple[Ints, Ints, Floats, tuple[str, ...]]:
    """Pairs of places whose pictures are one, how they agree, and what there is to say."""
    lowest = LEVELS[0][1]
    one, other, leaders = _around_leaders(scan, places)
    hashes = scan.hashes[leaders]
    nothing = np.empty(0, dtype=np.int64)
    if comparisons(hashes) > MOST_COMPARISONS:
        note = "near duplicates were not looked for: the pictures are too alike to be told apart"
        return nothing, nothing, np.empty(0), (note,)

    def agreeing(a: Ints, b: Ints) -> NDArray[np.bool_]:
        return _agree(scan, leaders[a], leaders[b]) >= lowest

    low, high = near_pairs(hashes, MOST_BITS, agreeing)
    one = np.concatenate([one, leaders[low]])
    other = np.concatenate([other, leaders[high]])
    agree = _agree(scan, one, other)
    if not (agree >= LEVELS[0][0]).any():
        return nothing, nothing, np.empty(0), ()
    for level, empty in LEVELS:
        same = agree >= level
        if same.sum() > ((agree >= empty) & ~same).sum():
            return one[same], other[same], agree[same], ()
    note = (
        "near duplicates cannot be told here: pictures of one kind, which shade into one another "
        f"({int((agree >= LEVELS[0][0]).sum())} pairs agree to {LEVELS[0][0]}, at least as many a "
        "little less)"
    )
    return nothing, nothing, np.empty(0), (note,)


def _around_leaders(scan: Scan, places: Ints) -> tuple[Ints, Ints, Ints]:
    """Pairs of equal hash and picture, each with the first such; and the places left to compare.

    A thousand pictures that are one are a thousand pairs so, and not half a million.
    """
    one, other = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    left, leaders = places, []
    for _ in range(_ROUNDS):
        _, first, inverse = np.unique(scan.hashes[left], return_index=True, return_inverse=True)
        leader = left[first[inverse]]
        agree = (_agree(scan, leader, left) >= LEVELS[0][0]) & (leader != left)
        one.append(leader[agree])
        other.append(left[agree])
        leaders.append(left[first])
        left = left[~agree & (leader != left)]
    return np.concatenate(one), np.concatenate(other), np.sort(np.concatenate([*leaders, left]))


def _agree(scan: Scan, one: Ints, other: Ints) -> Floats:
    """How the signatures of pairs agree (n,), with bounded memory."""
    found = np.empty(len(one))
    for first in range(0, len(one), 65536):
        part = slice(first, first + 65536)
        found[part] = agreement(scan.signatures[one[part]], scan.signatures[other[part]])
    return found


def _grouped(
    one: Ints,
    other: Ints,
    agree: Floats,
    exact: NDArray[np.bool_],
    count: int,
    notes: tuple[str, ...],
) -> Duplicates:
    """The connected components of pairs."""
    root = _roots(one, other, count)
    inside = np.unique(np.concatenate([one, other]))
    order = inside[np.argsort(root[inside], kind="stable")]
    firsts = np.flatnonzero(np.diff(root[order], prepend=-1))
    groups = np.searchsorted(root[order[firsts]], root[one])
    lowest, all_exact = np.ones(len(firsts)), np.ones(len(firsts), dtype=np.bool_)
    np.minimum.at(lowest, groups, agree)
    np.logical_and.at(all_exact, groups, exact)
    return Duplicates(order, np.append(firsts, len(order)), all_exact, lowest, notes)


def _roots(one: Ints, other: Ints, count: int) -> Ints:
    """The lowest place (count,) that each is joined with: labels flow until none changes."""
    root = np.arange(count)
    while True:
        before = root.copy()
        lower = np.minimum(root[one], root[other])
        # The roots are joined, not only the two: chains halve with each round.
        np.minimum.at(root, root[one], lower)
        np.minimum.at(root, root[other], lower)
        root = root[root]
        if np.array_equal(root, before):
            return root
