"""Facts as rows of words, for the shell and for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vertebra.data.inspection.facts import Sizes
from vertebra.report.words import count, percent, size

if TYPE_CHECKING:
    from vertebra.data.inspection.inspect import Inspection


def headline(seen: Inspection) -> list[tuple[str, str]]:
    """What there is at a glance."""
    facts, card = seen.facts, seen.card
    rows = [
        ("images", count(sum(len(split) for split in seen.dataset.splits))),
        ("classes", count(len(card.classes))),
    ]
    if card.groups is not None:
        rows.append(("groups", count(card.groups)))
    rows += [(split.name, count(len(split))) for split in seen.dataset.splits]
    if seen.sampled:
        rows.append(("looked at", count(len(seen.scan.indices))))
    rows.append(("broken", count(len(seen.broken))))
    if facts.bytes:
        rows.append(("files", size(facts.bytes)))
    if seen.scan.channels == 3 and facts.images:
        rows.append(("grey", percent(facts.grey / facts.images, 1)))
    rows.append(("doubles", count(len(seen.duplicates.members) - len(seen.duplicates))))
    if facts.mean and facts.std:
        rows.append(("mean", _values(facts.mean)))
        rows.append(("std", _values(facts.std)))
    rows.append(("largest to smallest class", f"{facts.balance.ratio:.1f}"))
    rows.append(("effective classes", f"{facts.balance.effective:.1f}"))
    return rows


def size_rows(sizes: Sizes) -> list[tuple[str, str, str, str]]:
    """Least, median and largest of each measure, and how many images are small."""
    rows = [
        (name, *(f"{value:.{digits}f}" for value in triple))
        for name, triple, digits in (
            ("width", sizes.width, 0),
            ("height", sizes.height, 0),
            ("width over height", sizes.aspect, 2),
        )
    ]
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def small_words(sizes: Sizes) -> str:
    """How many images are smaller than the usual inputs."""
    parts = [f"{count(number)} below {side}" for side, number in sizes.below.items()]
    return f"shorter side: {', '.join(parts)} pixels"


def _values(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4f}" for value in values)
