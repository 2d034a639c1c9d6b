"""Who goes into which split, by the images' names and a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vertebra.core import VertebraError, address
from vertebra.data.groups import deal_groups

Labels = NDArray[np.int64]
Groups = NDArray[np.int32]


def stratified_split(
    ids: Sequence[str],
    labels: Labels,
    fractions: Mapping[str, float],
    seed: int,
    groups: Groups | None = None,
) -> dict[str, NDArray[np.int64]]:
    """Divide samples so that every class keeps its share in each part.

    Args:
        ids: stable names of the samples (N).
        labels: their classes (N,).
        fractions: the share of each part to take; what is left is "train".
        seed: of the order in which the samples of a class are dealt out.
        groups: numbers of their groups (N,), whose samples stay together.

    Returns:
        Indices of "train" and of each part, ascending. Without groups a class's samples are ordered
        by a hash of seed and id, so listing order does not matter, a class keeps at least one to
        train on, and its count in a part is its share to within one. With groups a whole group goes
        where it is most missed, larger ones first and equal ones in the order of a hash; each class
        keeps a group to train on, and its count in a part is its share to within about the size of
        its largest group (see :func:`~vertebra.data.groups.deal_groups`).
    """
    names = ["train", *fractions]
    if groups is not None:
        shares = [1 - sum(fractions.values()), *fractions.values()]
        parts = deal_groups(_hashes(ids, seed), labels, groups, shares, keep=0)
    else:
        parts = _deal(ids, labels, list(fractions.values()), seed)
    return {name: np.flatnonzero(parts == part) for part, name in enumerate(names)}


def _deal(ids: Sequence[str], labels: Labels, shares: list[float], seed: int) -> NDArray[np.int64]:
    """The part of each sample (N,): 0 to train on, then one for each of ``shares``."""
    counts = np.bincount(labels)
    order, ranks = _ranked(ids, labels, seed)
    # The first one of a class stays in training whatever the quotas say.
    ends = np.cumsum([np.ones_like(counts), *(_quotas(counts, share) for share in shares)], axis=0)
    dealt = labels[order]
    found = np.zeros(len(order), dtype=np.int64)
    for part in range(1, len(ends)):
        found[(ranks >= ends[part - 1][dealt]) & (ranks < ends[part][dealt])] = part
    parts = np.empty_like(found)
    parts[order] = found
    return parts


def _ranked(
    ids: Sequence[str], labels: Labels, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Samples by class, and within a class by hash; and the rank of each within its class."""
    order = np.argsort(_hashes(ids, seed), kind="stable")
    order = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    return order, np.arange(len(order)) - starts[labels[order]]


def folds(
    ids: Sequence[str], labels: Labels, groups: Groups | None, k: int, seed: int
) -> NDArray[np.int64]:
    """The fold (N,) of each sample, 0 to k - 1: k parts that are alike, for cross-validation.

    Args:
        ids: stable names of the samples (N).
        labels: their classes (N,).
        groups: numbers of their groups (N,), each of which stays in one fold; None: there are none.
        k: how many folds.
        seed: of the order in which samples or groups are dealt out.

    Without groups the folds' counts of each class, and their sizes, differ by one at most. With
    groups each goes to the fold where it is most missed, larger ones first.

    Raises:
        VertebraError: k is below 2, or there are fewer samples or groups than folds.
    """
    there = len(ids) if groups is None else len(np.unique(groups))
    what = "images" if groups is None else "groups"
    if not 2 <= k <= there:
        raise VertebraError(f"{k} folds cannot be made of {there} {what}; expected 2 to {there}")
    if groups is not None:
        return deal_groups(_hashes(ids, seed), labels, groups, [1 / k] * k)
    order, _ = _ranked(ids, labels, seed)
    found = np.empty(len(order), dtype=np.int64)
    # A class begins where the one before it ended, so that the folds' sizes come out even too.
    found[order] = np.arange(len(order)) % k
    return found


def _hashes(ids: Sequence[str], seed: int) -> NDArray[np.int64]:
    return np.fromiter((address(seed, "split", name) for name in ids), np.int64, len(ids))


def _quotas(counts: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """How many of each class a part gets: proportional, rounded by largest remainder."""
    # The rounding keeps 0.15 * 1000 from becoming 151 through 150.00000000000003.
    total = int(np.ceil(round(counts.sum() * share, 6)))
    exact = counts * total / max(counts.sum(), 1)
    quotas: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    missing = total - int(quotas.sum())
    largest = np.argsort(-(exact - quotas), kind="stable")[:missing]
    quotas[largest] += 1
    return quotas
