"""Whether there is anything to learn from: one readable image of each class."""

from __future__ import annotations

import numpy as np

from vertebra.core import VertebraError, rng
from vertebra.data.dataset import Split
from vertebra.data.decode import DecodeError

# A start decodes no more: of each class so many images at most, of so many classes.
MOST_TRIED = 20
MOST_CLASSES = 1000


def check_readable(split: Split) -> None:
    """Refuse data with a class of which nothing can be decoded, before hours are spent on it.

    Of each class images at fixed random places are tried until one is good: one decode a class
    where all is well. Of more than a thousand classes a thousand at random are looked at.

    Raises:
        VertebraError: none of a class's images, or none of those tried, can be decoded.
    """
    order = np.argsort(split.labels, kind="stable")
    counts = np.bincount(split.labels, minlength=len(split.source.classes))
    starts = np.cumsum(counts) - counts
    generator = rng(0, "readable")
    for label in np.sort(generator.permutation(np.flatnonzero(counts))[:MOST_CLASSES]).tolist():
        members = order[starts[label] : starts[label] + counts[label]]
        chosen = generator.permutation(len(members))[:MOST_TRIED]
        _check_class(split, split.source.classes[label], members[chosen].tolist(), len(members))


def _check_class(split: Split, name: str, places: list[int], images: int) -> None:
    reason = ""
    for place in places:
        try:
            split.read(place)
        except DecodeError as error:
            reason = f"{split.id(place)}: {error.reason}"
        else:
            return
    tried = "" if len(places) == images else f" ({len(places)} of {images} tried)"
    raise VertebraError(
        f"no image of class '{name}' in {split.source.name} can be decoded{tried}, such as {reason}"
    )
