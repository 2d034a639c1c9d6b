"""Rules of capacity: how many parameters are taught for how many images."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vertebra.choice.rules.rows import SCALE, TABLE
from vertebra.choice.rules.rule import Rule, Stance, Where, fits
from vertebra.report.words import count, si
from vertebra.zoo import get, list_models

if TYPE_CHECKING:
    from vertebra.choice.requirement import Requirement
    from vertebra.zoo import Architecture

# How many times the parameters of the largest network that the rows name is too many.
TOO_MANY = 2.0
# Parameters a sample that are taught to be overkill: 50 M for a table of 5 000 rows.
OVERKILL = 10_000


def span(requirement: Requirement) -> tuple[int, int] | None:
    """Parameters of the smallest and the largest network that the rows for so many images name.

    None where no row does.
    """
    rows = [row for row in (*TABLE, *SCALE) if row.where.images and row.applies(requirement)]
    return _span_of(tuple(pattern for row in rows for pattern in row.prefers))


@functools.cache
def _span_of(patterns: tuple[str, ...]) -> tuple[int, int] | None:
    known = (get(name) for name in list_models())
    params = [architecture.params for architecture in known if fits(architecture, patterns)]
    return (min(params), max(params)) if params else None


class RowsCapacity(Rule):
    """What the rows imply: as many parameters as the networks that they name."""

    def on(self, requirement: Requirement, architecture: Architecture) -> Stance:
        """Prefers what lies within the span of the rows, advises against far more."""
        found = span(requirement) if self.applies(requirement) else None
        if found is None:
            return "silent"
        if architecture.params > TOO_MANY * found[1]:
            return "against"
        return "prefers" if found[0] <= architecture.params <= found[1] else "silent"

    def sentence(self, requirement: Requirement, architecture: Architecture) -> str:
        """With the numbers."""
        least, most = span(requirement) or (0, 0)
        named = si(least) if least == most else f"{si(least)} to {si(most)}"
        return (
            f"the rows for {count(requirement.images or 0)} images name networks of {named} "
            f"parameters, and {architecture.name} has {si(architecture.params)}"
        )


@dataclass(frozen=True)
class OverkillCapacity(Rule):
    """So many parameters for each image that a network which starts from nothing is overkill."""

    most: int = OVERKILL

    def on(self, requirement: Requirement, architecture: Architecture) -> Stance:
        """Advises against more than ``most`` parameters an image."""
        if not self.applies(requirement):
            return "silent"
        return "against" if architecture.params >= self.most * _images(requirement) else "silent"

    def sentence(self, requirement: Requirement, architecture: Architecture) -> str:
        """With the numbers."""
        each = architecture.params / _images(requirement)
        return (
            f"{architecture.name} would learn {si(each)} parameters for each of "
            f"{count(_images(requirement))} images from nothing; {si(self.most)} are overkill"
        )


def _images(requirement: Requirement) -> int:
    return requirement.images or 1


CAPACITY: tuple[Rule, ...] = (
    RowsCapacity(
        code="capacity.rows",
        says="take about as many parameters as the networks that are taught for so many images",
        source="implied by the taught rows by number of images",
        where=Where("a row by number of images holds", images=(0, None)),
        kind="capacity",
        doubt="the number of parameters is a weak measure of capacity: test error falls again "
        "beyond the point where the training set is learnt by heart (Nakkiran et al., 2019, "
        "arXiv:1912.02292), and pretrained weights change the question",
    ),
    OverkillCapacity(
        code="capacity.overkill",
        says="ten thousand parameters for each sample are overkill",
        source="commonly taught, of a table: 50 M parameters for 5 000 rows",
        where=Where("from scratch", images=(0, None), pretrained=False),
        kind="capacity",
        doubt="weights shared by all places of an image are not those of a table; networks of "
        "hundreds of parameters an image learn CIFAR-10 well (Zagoruyko and Komodakis, 2016, "
        "arXiv:1605.07146)",
    ),
)
