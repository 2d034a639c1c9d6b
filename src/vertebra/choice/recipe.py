"""How the chosen network should be trained: every decision with its reason, and the command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vertebra.choice.advice.images import augmentation, regularisation, resolution
from vertebra.choice.advice.item import Item
from vertebra.choice.advice.learning import batch, optimizer, schedule
from vertebra.choice.advice.situation import Situation
from vertebra.choice.advice.starting import (
    changed,
    freeze,
    layer_decay,
    norm,
    start,
    wants_both,
)
from vertebra.choice.candidate import Candidate
from vertebra.choice.choice import Choice
from vertebra.choice.facts import usable_weights
from vertebra.choice.requirement import Requirement
from vertebra.core import VertebraError, unknown
from vertebra.zoo import Architecture, get

if TYPE_CHECKING:
    from vertebra.data import DataCard
    from vertebra.runs import Recipe

# What a command says where the data is not known by name.
SOME_DATA = "path/to/images"
# GPUs of one machine, which one torchrun starts.
ONE_MACHINE = 8


@dataclass(frozen=True)
class Advice:
    """A recipe with reasons.

    Attributes:
        model, weights: the network and what it starts from; None: its own initialisation.
        base: the built-in recipe that the items change.
        data: a source as ``vertebra train`` takes it.
        gpus: that train it together; 0: the CPU.
        items: the decisions.
        other: the same from scratch, where both starts are worth comparing.
    """

    model: str
    weights: str | None
    base: str
    data: str
    gpus: int
    items: tuple[Item, ...]
    other: Advice | None = None

    def __getitem__(self, field: str) -> Item:
        """The decision about ``field``, such as "norm".

        Raises:
            VertebraError: nothing of that name is decided.
        """
        for item in self.items:
            if item.field == field:
                return item
        raise unknown("decision about training", field, [item.field for item in self.items])

    def to_recipe(self) -> dict[str, Any]:
        """What changes in the built-in recipe :attr:`base`, by full names of fields.

        ``Recipe.load(advice.base, data=..., **advice.to_recipe())`` is the whole.
        """
        start = {"model.name": self.model, "model.weights": self.weights}
        return {**start, **changed(self.items)}

    def recipe(self) -> Recipe:
        """The whole recipe, validated; what it leaves open training decides."""
        from vertebra.runs import Recipe

        return Recipe.load(self.base, data=self.data, **self.to_recipe())

    def command(self) -> str:
        """What runs it, in a shell; with more than one GPU on one machine of at most eight."""
        words = ["vertebra", "train", self.data, "--model", self.model, "--recipe", self.base]
        if self.weights is not None:
            words += ["--weights", self.weights]
        for key, value in changed(self.items).items():
            words += ["--set", f"{key}={_as_yaml(value)}"]
        if self.gpus > 1:
            several = f"torchrun --standalone --nproc-per-node {min(self.gpus, ONE_MACHINE)} -m"
            words = [*several.split(), *words]
        return shlex.join(words)

    def commands(self) -> tuple[str, ...]:
        """The command, and that of the other start where both are worth comparing."""
        return (self.command(), *(self.other.commands() if self.other else ()))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "model": self.model,
            "weights": self.weights,
            "base": self.base,
            "items": [item.to_dict() for item in self.items],
            "recipe": self.to_recipe(),
            "commands": list(self.commands()),
        }


def recipe(
    subject: Choice | Candidate | Architecture | str,
    about: Requirement | DataCard,
    *,
    data: str | None = None,
) -> Advice:
    """How to train what was chosen.

    Args:
        subject: a choice, one of its candidates, an architecture, or a name. A choice's and a
            candidate's own weights are kept; else the best published ones that may be used.
        about: the requirement, or a dataset's card.
        data: where the images are; a card knows.

    Raises:
        VertebraError: no such architecture, a choice that recommends nothing, or images of which
            this is no question.
    """
    asked = about if isinstance(about, Requirement) else Requirement.of_card(about)
    source = SOME_DATA if isinstance(about, Requirement) else about.source
    if asked.kind != "images":
        raise VertebraError(
            f"recipes are for images, and the requirement is about kind '{asked.kind}'"
        )
    architecture, weights = _chosen(subject, asked)
    return _advise(Situation(architecture, asked, weights), data or source)


def _chosen(
    subject: Choice | Candidate | Architecture | str, asked: Requirement
) -> tuple[Architecture, str | None]:
    if isinstance(subject, Choice):
        if subject.recommended is None:
            raise VertebraError("the choice recommends no network, so there is none to train")
        subject = subject.recommended
    if isinstance(subject, Candidate):
        return get(subject.model), subject.weights
    architecture = get(subject) if isinstance(subject, str) else subject
    usable = usable_weights(architecture, asked)
    return architecture, usable.weights if usable else None


def _advise(situation: Situation, data: str) -> Advice:
    items = (
        start(situation),
        norm(situation),
        batch(situation),
        optimizer(situation),
        schedule(situation),
        resolution(situation),
        augmentation(situation),
        freeze(situation),
        layer_decay(situation),
        regularisation(situation),
    )
    scratch = replace(situation, weights=None) if wants_both(situation) else None
    return Advice(
        model=situation.architecture.name,
        weights=situation.weights,
        base=situation.base,
        data=data,
        gpus=situation.requirement.gpus,
        items=items,
        other=_advise(scratch, data) if scratch else None,
    )


def _as_yaml(value: Any) -> str:
    """As ``--set`` reads it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
