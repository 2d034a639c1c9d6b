"""Who goes into which split, by the images' names and a seed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vertebra.core import address


def stratified_split(
    ids: Sequence[str], labels: NDArray[np.int64], fractions: dict[str, float], seed: int
) -> dict[str, NDArray[np.int64]]:
    """Divide samples so that every class keeps its share in each part.

    Args:
        ids: stable names of the samples (N).
        labels: their classes (N,).
        fractions: the share of each part to take; what is left is "train".
        seed: of the order in which the samples of a class are dealt out.

    Returns:
        Indices of "train" and of each part, ascending. A class's samples are ordered by a hash of
        seed and id, so listing order does not matter, and a class keeps at least one to train on.
    """
    counts = np.bincount(labels)
    quotas = {part: _quotas(counts, share) for part, share in fractions.items()}
    parts: dict[str, list[int]] = {"train": [], **{part: [] for part in fractions}}
    order = sorted(range(len(ids)), key=lambda index: address(seed, "split", ids[index]))
    by_class: list[list[int]] = [[] for _ in counts]
    for index in order:
        by_class[labels[index]].append(index)
    for label, members in enumerate(by_class):
        spare = members[1:]  # the first one stays in training whatever the quotas say
        for part in fractions:
            taken, spare = spare[: quotas[part][label]], spare[quotas[part][label] :]
            parts[part] += taken
        parts["train"] += members[:1] + spare
    return {part: np.array(sorted(members), dtype=np.int64) for part, members in parts.items()}


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
