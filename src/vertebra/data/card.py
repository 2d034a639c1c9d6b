"""What is known of a dataset before a network sees it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Skipped:
    """An image that cannot be decoded: its id and the reason."""

    id: str
    reason: str


@dataclass(frozen=True)
class DataCard:
    """The facts of a dataset, as ``data.json`` holds them.

    ``fingerprint`` changes when an image is added, removed, renamed, relabelled, moved to another
    split or changes its size. ``counts`` maps split to class to number of images. ``skipped`` are
    images known to be broken: opening looks for none. ``groups`` is how many groups the images
    form, None where they form none.
    """

    source: str
    fingerprint: str
    classes: tuple[str, ...]
    channels: int
    counts: dict[str, dict[str, int]]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    groups: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = asdict(self)
        plain["classes"] = list(self.classes)
        plain["skipped"] = [asdict(entry) for entry in self.skipped]
        plain["notes"] = list(self.notes)
        return {"schema": "vertebra.data/1", **plain}
