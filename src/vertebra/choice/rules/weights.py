"""Rules of pretrained weights: which of a network's to take, and which networks have good ones."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vertebra.choice.rules.rule import Rule, Stance, Where

if TYPE_CHECKING:
    from vertebra.choice.requirement import Requirement
    from vertebra.zoo import Architecture

FIRST, SECOND = "IMAGENET1K_V1", "IMAGENET1K_V2"
# Of pretraining on more than ImageNet's 1.28 M images.
LARGER = ("*in12k*", "*in21k*", "*in22k*", "*SWAG*")


@dataclass(frozen=True)
class WeightsRule(Rule):
    """A rule that looks at weights; ``networks``: it also prefers networks that have good ones."""

    networks: bool = False
    good: tuple[str, ...] = ()

    def on(self, requirement: Requirement, architecture: Architecture) -> Stance:
        """Prefers what has good weights to what has not, where the rule speaks of networks."""
        if not (self.networks and self.applies(requirement)):
            return "silent"
        # Those for another size are none that would be taken.
        rows = [row for row in architecture.published if row.crop == architecture.input_size[1]]
        has = any(_matches(row.weights, self.good) for row in rows)
        return "prefers" if has else "against"

    def on_weights(self, requirement: Requirement, weights: str, others: Iterable[str]) -> Stance:
        """What it says of ``weights`` beside the ``others`` of the same network."""
        if not self.applies(requirement):
            return "silent"
        if _matches(weights, self.good):
            return "prefers"
        # The first weights of a network are its old recipe only where there is a second one.
        return "against" if weights == FIRST and SECOND in others else "silent"


def _matches(weights: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(weights, pattern) for pattern in patterns)


WEIGHTS: tuple[WeightsRule, ...] = (
    WeightsRule(
        code="weights.before-architecture",
        says="under 10 000 images the quality of the weights matters more than the architecture",
        source="commonly taught",
        where=Where(
            "under 10 000 images with pretrained weights", images=(0, 10_000), pretrained=True
        ),
        kind="weights",
        networks=True,
        good=(SECOND, *LARGER),
        doubt="elsewhere the boundary is 50 000; and what good weights are hangs on use: label "
        "smoothing and MixUp lift the published accuracy and lower that of a linear model on the "
        "features (Kornblith et al., 2020, arXiv:2010.16402)",
    ),
    WeightsRule(
        code="weights.latest",
        says="take the latest weights: the same network, trained better",
        source="commonly taught; torchvision's IMAGENET1K_V2",
        where=Where("pretrained weights may be had", pretrained=True),
        kind="weights",
        good=(SECOND,),
        doubt="not every network has second ones, and as frozen features they can be worse "
        "(Kornblith et al., 2020, arXiv:2010.16402)",
    ),
)
