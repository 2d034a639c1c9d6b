"""Look at a dataset once, and say what there is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vertebra.core import VertebraError, rng
from vertebra.data.card import DataCard, Skipped
from vertebra.data.dataset import ImageDataset
from vertebra.data.inspection.duplicates import Duplicates, find_duplicates
from vertebra.data.inspection.facts import Facts, facts
from vertebra.data.inspection.findings import find
from vertebra.data.inspection.scan import Scan, scan
from vertebra.data.inspection.suspects import Suspects
from vertebra.runs import Finding

# Entries of a list that goes into a document; how many there are is always said beside it.
MOST_LISTED = 1000


@dataclass(frozen=True, eq=False)
class Inspection:
    """What one look at each image of a dataset found.

    ``scan`` has the N images that were looked at, all or a sample; ``splits`` (N,) numbers them
    into ``dataset.splits``, ``labels`` (N,) into its classes. ``input_size`` is what a network
    would see them at, None where that is not known.
    """

    dataset: ImageDataset
    scan: Scan
    splits: NDArray[np.int8]
    labels: NDArray[np.int64]
    duplicates: Duplicates
    input_size: int | None
    suspects: Suspects | None = None

    @property
    def sampled(self) -> bool:
        """Whether only some of the images were looked at."""
        return len(self.scan.indices) < sum(len(split) for split in self.dataset.splits)

    @functools.cached_property
    def facts(self) -> Facts:
        """Sizes, formats, statistics, balance."""
        train = self.dataset.card.counts["train"]
        return facts(self.scan, self.splits == 0, train)

    @functools.cached_property
    def broken(self) -> tuple[Skipped, ...]:
        """What could not be decoded, and why."""
        words, ids = self.scan.reason_words.words, self.dataset.source.ids
        return tuple(
            Skipped(ids[int(self.scan.indices[at])], words[int(self.scan.reasons[at])])
            for at in np.flatnonzero(~self.scan.seen)
        )

    @functools.cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What a person should act on, worst first."""
        return find(self)

    @property
    def failed(self) -> bool:
        """Whether one of the findings is a fault."""
        return any(finding.level == "fault" for finding in self.findings)

    @functools.cached_property
    def card(self) -> DataCard:
        """The dataset's card, with what is broken and what could not be looked for."""
        card = self.dataset.card
        return replace(card, skipped=self.broken, notes=(*card.notes, *self.notes))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not looked at."""
        notes = list(self.duplicates.notes)
        unhashed = int((self.scan.seen & ~self.scan.hashed).sum())
        if unhashed:
            notes.append(
                f"near duplicates of {unhashed} images below 32 pixels or without contrast were "
                "not looked for"
            )
        if self.sampled:
            total = sum(len(split) for split in self.dataset.splits)
            notes.insert(
                0,
                f"looked at {len(self.scan.indices)} of {total} images: what is found is a part of "
                "what there is, of duplicates a small one",
            )
        told = self.suspects.notes if self.suspects else ()
        return (*notes, *(note for note in told if note not in self.dataset.notes))

    def id(self, at: int) -> str:
        """The name of image ``at`` of the scan."""
        return self.dataset.source.ids[int(self.scan.indices[at])]

    def split(self, at: int) -> str:
        """The split that it is in."""
        return self.dataset.splits[int(self.splits[at])].name

    def label(self, at: int) -> str:
        """Its class."""
        return self.dataset.classes[int(self.labels[at])]

    def to_dict(self) -> dict[str, Any]:
        """The card and what was found, as plain data for JSON."""
        return {
            **self.card.to_dict(),
            "looked_at": len(self.scan.indices),
            "findings": [asdict(finding) for finding in self.findings],
            "facts": self.facts.to_dict(),
            "duplicates": self._duplicates(),
            "suspects": self.suspects.to_dict() if self.suspects else None,
        }

    def _duplicates(self) -> dict[str, Any]:
        found = self.duplicates
        listed = [
            {
                "exact": bool(found.exact[group]),
                "agreement": round(float(found.agreements[group]), 4),
                "images": [
                    {"id": self.id(at), "split": self.split(at), "class": self.label(at)}
                    for at in found[group][:MOST_LISTED].tolist()
                ],
            }
            for group in self.listed_groups(MOST_LISTED)
        ]
        return {"groups": len(found), "images": len(found.members), "listed": listed}

    def listed_groups(self, most: int) -> list[int]:
        """The first groups to be shown: across splits, then of two labels, then the others."""
        order = np.lexsort((~self.torn_labels, ~self.across_splits))
        return [int(group) for group in order[:most]]

    @functools.cached_property
    def across_splits(self) -> NDArray[np.bool_]:
        """Which groups of duplicates (G,) are in more than one split."""
        return self._differ(self.splits)

    @functools.cached_property
    def torn_labels(self) -> NDArray[np.bool_]:
        """Which groups of duplicates (G,) have more than one label."""
        return self._differ(self.labels)

    def _differ(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        found = self.duplicates
        differs = values[found.members] != values[found.members[found.starts[:-1]]][found.groups]
        result = np.zeros(len(found), dtype=np.bool_)
        np.logical_or.at(result, found.groups, differs)
        return result


def inspect(
    dataset: ImageDataset,
    *,
    sample: int | None = None,
    seed: int = 0,
    input_size: int | None = None,
    suspects: Suspects | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Decode each image of a dataset once, on all cores, and say what there is and what is wrong.

    Memory is about 220 bytes an image beyond the dataset's own.

    Args:
        dataset: of any source.
        sample: look at so many images only, drawn at an address of ``seed``.
        seed: of that draw.
        input_size: pixels of a side that a network takes; None: 224, unless all images of the
            source are squares of one size.
        suspects: labels in doubt, as ``vertebra.train`` finds them.
        progress: called with (done, total).

    Raises:
        VertebraError: a sample of less than one image.
    """
    if sample is not None and sample < 1:
        raise VertebraError(f"a sample is of at least one image, got {sample}")
    indices = np.concatenate([split.indices for split in dataset.splits])
    codes = np.repeat(
        np.arange(len(dataset.splits), dtype=np.int8), [len(split) for split in dataset.splits]
    )
    if sample is not None and sample < len(indices):
        chosen = rng(seed, "inspection").choice(len(indices), sample, replace=False)
        indices, codes = indices[chosen], codes[chosen]
    # Ascending, so that shards are read from front to back.
    order = np.argsort(indices, kind="stable")
    indices, codes = indices[order], codes[order]
    found = scan(dataset.source, indices, dataset.channels, progress)
    return Inspection(
        dataset=dataset,
        scan=found,
        splits=codes,
        labels=dataset.source.labels[indices],
        duplicates=find_duplicates(found),
        input_size=input_size or (None if dataset.source.native_size else 224),
        suspects=suspects,
    )
