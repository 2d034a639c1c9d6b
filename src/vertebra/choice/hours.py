"""How long training on this machine's CPU takes, told by steps that were measured.

A network's own step says it best. Another's is told by its forward pass: what a step takes in
forward passes is much alike from network to network, and is not the three that the products of a
step come to. One image at a time leaves a CPU idle that a batch does not, and training may be done
in bf16: three passes were up to eight times too long. So where no step at all was measured, nothing
is told.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vertebra.choice.cost_model import CostModel
from vertebra.choice.measured import Setting, is_listed_as, setting_of
from vertebra.choice.requirement import Requirement
from vertebra.evidence import Evidence, Measurement
from vertebra.machine import Machine
from vertebra.zoo import get, list_models

# Passes over the images of a run whose hours are told: fine-tuning, and from scratch.
EPOCHS = {True: 20, False: 100}
_FORWARD: Setting = ("eager", "fp32", "contiguous")


@dataclass(frozen=True)
class Pace:
    """How fast networks are trained here.

    Attributes:
        images: that a run looks at, every pass counted; None where hours are not told.
        steps: seconds an image, of networks whose steps were measured: the fastest way each was.
        forwards: seconds of an image's forward pass in eager PyTorch, measured or predicted.
    """

    images: int | None = None
    steps: Mapping[str, float] = field(default_factory=dict)
    forwards: Mapping[str, float] = field(default_factory=dict)

    @property
    def passes(self) -> tuple[float, float, float] | None:
        """Forward passes that a step takes: the middle network's, the least and the most."""
        both = [
            took / self.forwards[name] for name, took in self.steps.items() if name in self.forwards
        ]
        return (statistics.median(both), min(both), max(both)) if both else None

    def is_guess(self, model: str) -> bool:
        """Whether its hours are told by other networks' steps."""
        return model not in self.steps

    def hours(self, model: str) -> float | None:
        """Of training this network; None where nothing tells them."""
        if self.images is None:
            return None
        seconds = self.steps.get(model)
        if seconds is None and self.passes and model in self.forwards:
            seconds = self.passes[0] * self.forwards[model]
        return None if seconds is None else self.images * seconds / 3600


def pace_of(
    requirement: Requirement,
    streams: Sequence[Measurement],
    models: Mapping[Setting, CostModel],
    evidence: Evidence,
    machine: Machine,
) -> Pace:
    """The pace of what is known; none on a GPU, and where no limit on it can be told.

    Args:
        requirement: what is asked.
        streams: the measured calls, of ``requirement.batch_served`` images each.
        models: by setting what predicts the others.
        evidence: where measured steps are.
        machine: which they have to be of.
    """
    if requirement.gpus or requirement.images is None or requirement.device != "cpu":
        return Pace()
    forwards = {}
    for name in list_models():
        if _FORWARD in models:
            forwards[name] = models[_FORWARD].seconds(get(name).work) / requirement.batch_served
    for m in streams:
        if setting_of(m) == _FORWARD:
            forwards[m.model] = m.p50 / requirement.batch_served
    images = requirement.images * EPOCHS[requirement.pretrained]
    return Pace(images, _steps(requirement, evidence, machine), forwards)


def _steps(requirement: Requirement, evidence: Evidence, machine: Machine) -> dict[str, float]:
    """Seconds an image of the training steps that were measured here."""
    threads = requirement.threads or machine.cores
    found: dict[str, float] = {}
    for m in evidence.measurements(machine=machine.fingerprint, workload="train"):
        c = m.conditions
        if c.threads == threads and c.device == "cpu" and is_listed_as(m):
            found[m.model] = min(found.get(m.model, float("inf")), 1 / m.images_per_second)
    return found
