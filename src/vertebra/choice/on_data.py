"""What runs on the very data say: the strongest evidence there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra.choice.candidate import Accuracy
from vertebra.choice.facts import OnData
from vertebra.choice.licences import accepts, licence_of
from vertebra.choice.measured import size_asked
from vertebra.choice.requirement import Requirement
from vertebra.choice.shares import wilson
from vertebra.core import VertebraError
from vertebra.runs import Recipe, Run
from vertebra.zoo import Architecture, get, list_models

if TYPE_CHECKING:
    from vertebra.data import ImageDataset


def of_dataset(dataset: ImageDataset, runs: Path, **asked: Any) -> tuple[Requirement, OnData]:
    """The requirement of a dataset, at its own size where it has one, and what runs on it say.

    Args:
        dataset: whose images are counted.
        runs: the folder of runs; see :func:`from_runs`.
        asked: what else is required, by field of :class:`.Requirement`.

    Raises:
        VertebraError: as :meth:`.Requirement.of_card`.
    """
    requirement = Requirement.of_card(dataset.card, **asked)
    if requirement.input_size is None and dataset.source.native_size:
        requirement = replace(requirement, input_size=dataset.source.native_size)
    return requirement, from_runs(runs, dataset.card.fingerprint, requirement)


def from_runs(folder: Path, fingerprint: str, requirement: Requirement) -> OnData:
    """By model the best accuracy on validation images, of all runs in ``folder`` on this data.

    Validation and not test: choosing by the test images would spend them. Runs of other data, and
    folders that hold no run, are passed over; a run of another size, of changed options, or from
    weights that are not to be had is of another network than the one whose cost is known, and is
    passed over with a note.
    """
    found: dict[str, Accuracy] = {}
    notes: list[str] = []
    for run in _on(folder, fingerprint):
        accuracy, model = _of_run(run), run.recipe.model.name
        if accuracy is None or model not in list_models():
            continue
        another = _is_of_another(run.recipe, get(model), requirement)
        if another:
            notes.append(f"{run.path} does not count for {model}: {another}")
        elif model not in found or accuracy.value > found[model].value:
            found[model] = accuracy
    return OnData(found, notes=tuple(notes))


def _on(folder: Path, fingerprint: str) -> Iterator[Run]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            run = Run.open(path)
            if run.card["fingerprint"] == fingerprint:
                yield run
        except VertebraError:  # no run, or one that cannot be read
            continue


def _is_of_another(
    recipe: Recipe, architecture: Architecture, requirement: Requirement
) -> str | None:
    """Why a run tells nothing of what would be served; None where it does."""
    size, meant = recipe.data.image_size, size_asked(architecture, requirement)
    if size != meant:
        return f"it saw {size} pixels, and {meant} are meant (--input-size {size} counts it)"
    changed = ", ".join(recipe.model.options)
    if changed:
        return f"it changed {changed}"
    tag = recipe.model.weights
    if tag is None:
        return None
    if not requirement.pretrained:
        return f"it began from {tag}, and no weights are to be had"
    licences = [
        licence_of(row, architecture.name) for row in architecture.published if row.weights == tag
    ]
    if not accepts(requirement.licence, licences[0] if licences else None):
        return f"it began from {tag}, whose licence is not accepted"
    return None


def _of_run(run: Run) -> Accuracy | None:
    """Its best epoch; None before the first one."""
    epochs = [line for line in run.epochs if line.get("val_top1") is not None]
    if not epochs:
        return None
    top1 = max(line["val_top1"] for line in epochs)
    images = sum(run.card["counts"].get("val", {}).values())
    source, weights = f"{run.path}, validation", run.recipe.model.weights
    return Accuracy(top1, "runs", source, wilson(top1, images), weights)
