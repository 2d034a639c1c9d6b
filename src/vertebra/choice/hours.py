"""How long training on this machine's CPU takes, told by steps that were measured.

A network's own step says it best. Another's is told by its forward pass: a step takes so many
forward passes in the networks that were measured, which need not be the three that its products
come to. One image at a time may leave a CPU idle that a batch does not, and training may be done in
bf16. So where no step at all was measured, nothing is told.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vertebra.choice.advice.situation import Situation
from vertebra.choice.candidate import Candidate
from vertebra.choice.cost_model import CostModel
from vertebra.choice.measured import Known, Setting, size_asked, work_at
from vertebra.choice.requirement import Requirement
from vertebra.zoo import Architecture

_FORWARD: Setting = ("eager", "fp32", "contiguous")


@dataclass(frozen=True)
class Passes:
    """Forward passes that a step takes in so many networks: the middle one, the least, the most."""

    middle: float
    least: float
    most: float
    networks: int


@dataclass(frozen=True)
class Pace:
    """How fast networks are trained here.

    Attributes:
        told: whether hours can be told: of so many images, on this CPU.
        steps: seconds an image, by graph and size: the fastest way it was trained.
        forwards: the same of a forward pass in eager PyTorch, measured.
        model: predicts other forward passes; None where it cannot.
        batch: images of a forward pass.
    """

    told: bool = False
    steps: Mapping[tuple[str, int], float] = field(default_factory=dict)
    forwards: Mapping[tuple[str, int], float] = field(default_factory=dict)
    model: CostModel | None = None
    batch: int = 1

    @functools.cached_property
    def passes(self) -> Passes | None:
        """What a step takes, by the networks of which both were measured."""
        known = self.forwards
        both = {which: took / known[which] for which, took in self.steps.items() if which in known}
        if not both:
            return None
        some = both.values()
        return Passes(statistics.median(some), min(some), max(some), len({p for p, _ in both}))

    def hours(
        self, architecture: Architecture, requirement: Requirement, weights: str | None
    ) -> tuple[float | None, bool]:
        """Of training by the recipe that is advised, and whether that is guessed.

        As if every labelled image were trained on. A probe of frozen features takes a forward pass
        an image. None where nothing tells it.
        """
        if not self.told or requirement.images is None:
            return None, False
        situation = Situation(architecture, requirement, weights)
        seconds, guessed = self._seconds(architecture, situation)
        if seconds is None:
            return None, False
        return requirement.images * _epochs(situation.base) * seconds / 3600, guessed

    def wants_step(self, winner: Candidate, requirement: Requirement) -> bool:
        """Whether hours are asked for, can be told, and the winner's own step would tell them."""
        guessed = winner.hours is None or winner.hours_guessed
        return requirement.hours is not None and self.told and guessed

    def _seconds(
        self, architecture: Architecture, situation: Situation
    ) -> tuple[float | None, bool]:
        """An image's, and whether that is guessed."""
        which = architecture.fingerprint, size_asked(architecture, situation.requirement)
        forward = self._forward(architecture, which)
        if situation.only_head:
            return forward, True
        if which in self.steps:
            return self.steps[which], False
        if forward is None or self.passes is None:
            return None, True
        return self.passes.middle * forward, True

    def _forward(self, architecture: Architecture, which: tuple[str, int]) -> float | None:
        if which in self.forwards:
            return self.forwards[which]
        if self.model is None:
            return None
        return self.model.seconds(work_at(architecture, which[1])) / self.batch


@functools.cache
def _epochs(recipe: str) -> float:
    """Passes over the images; built-in recipes say their length so."""
    from vertebra.runs import Recipe

    return Recipe.load(recipe).train.duration.value


def pace_of(
    requirement: Requirement,
    streams: Sequence[Known],
    steps: Sequence[Known],
    models: Mapping[Setting, CostModel],
) -> Pace:
    """The pace of what is known; where training is elsewhere or of nobody knows how many images,
    no hours are told.
    """
    told = not requirement.gpus and requirement.images is not None and requirement.device == "cpu"
    trained: dict[tuple[str, int], float] = {}
    for known in steps:
        which = known.architecture.fingerprint, known.size
        took = 1 / known.measurement.images_per_second
        trained[which] = min(took, trained.get(which, took))
    batch = requirement.batch_served
    forwards = {
        (known.architecture.fingerprint, known.size): known.measurement.p50 / batch
        for known in streams
        if known.setting == _FORWARD
    }
    return Pace(told, trained, forwards, models.get(_FORWARD), batch)
