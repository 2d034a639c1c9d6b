"""k-fold cross-validation: how much a figure hangs on who was held out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vertebra.core import VertebraError, write_json
from vertebra.machine import describe
from vertebra.runs import Observer, Recipe, Run
from vertebra.runs.run import RECIPE, REPORT
from vertebra.train.fit import fit
from vertebra.train.own_data import dataset_of
from vertebra.train.rules import resolve
from vertebra.train.start import with_checksums

SUMMARY = "folds.json"
_SECTIONS = ("model", "data", "train", "seed")
_BY_MACHINE = ("device", "threads", "precision", "channels_last")


@dataclass(frozen=True)
class Fold:
    """One of the runs: its best accuracy on the part that was held out, and that on test."""

    run: str
    epoch: int
    val_top1: float
    val_loss: float
    test_top1: float | None


@dataclass(frozen=True)
class CrossValidation:
    """All folds; ``mean`` and ``spread`` (standard deviation, n - 1) of validation top-1.

    Validation also chose each fold's checkpoint, so its mean is slightly hopeful. Folds share their
    training images: the spread is no standard error (Bengio and Grandvalet, 2004).
    """

    path: Path
    folds: tuple[Fold, ...]

    @property
    def mean(self) -> float:
        """Of validation top-1."""
        return statistics.fmean(fold.val_top1 for fold in self.folds)

    @property
    def spread(self) -> float:
        """Standard deviation of validation top-1 between the folds."""
        return statistics.stdev(fold.val_top1 for fold in self.folds)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "schema": "vertebra.folds/1",
            "path": str(self.path),
            "mean": self.mean,
            "spread": self.spread,
            "folds": [asdict(fold) for fold in self.folds],
        }


def cross_validate(
    recipe: Recipe,
    folds: int,
    out: str | Path,
    *,
    observers: Sequence[Observer] = (),
    tell: Callable[[str], None] | None = None,
) -> CrossValidation:
    """Train once with each of ``folds`` equal parts held out; ``out/fold-0``, ``fold-1``, ...

    Called again with the same folder it goes on: finished folds stay, a stopped one is resumed.

    Raises:
        VertebraError: as :func:`fit`; or a fold there is of another recipe or of other data.
    """
    if recipe.data.folds is not None:
        raise VertebraError("the recipe has data.folds itself; give it without, or give no folds")
    found = []
    for number in range(folds):
        wanted = recipe.override(**{"data.folds": folds, "data.fold": number})
        place = Path(out) / f"fold-{number}"
        if tell is not None:
            tell(f"fold {number + 1} of {folds}: {place}")
        found.append(_fold(_run(wanted, place, observers, tell)))
    result = CrossValidation(Path(out), tuple(found))
    write_json(result.path / SUMMARY, result.to_dict())
    return result


def _run(
    recipe: Recipe,
    place: Path,
    observers: Sequence[Observer],
    tell: Callable[[str], None] | None,
) -> Run:
    """The run of one fold, finished: as it is there, resumed, or made."""
    if not (place / RECIPE).is_file():
        return fit(recipe, place, observers=observers, tell=tell)
    run = Run.open(place)
    _check_same(recipe, run)
    if (place / REPORT).is_file():
        return run
    return fit(resume=place, observers=observers, tell=tell)


def _check_same(recipe: Recipe, run: Run) -> None:
    """Refuse a fold that this recipe would not have made here.

    Raises:
        VertebraError: it is of another recipe or of other data.
    """
    dataset, there = dataset_of(recipe), run.recipe
    # What the machine decided stays: another one, or fewer cores, goes on with it.
    open_ones = (name for name in _BY_MACHINE if getattr(recipe.train, name) is None)
    recipe = recipe.override(**{f"train.{name}": getattr(there.train, name) for name in open_ones})
    asked = with_checksums(resolve(recipe, dataset, describe()))
    if asked.digest != there.digest:
        differing = [name for name in _SECTIONS if getattr(asked, name) != getattr(there, name)]
        what = f"{run.path} is of another recipe ({', '.join(differing)} differs)"
        raise VertebraError(f"{what}; name another out")
    if dataset.card.fingerprint != run.card["fingerprint"]:
        raise VertebraError(
            f"{run.path} was trained on other data: {dataset.source.name} has changed since; "
            f"name another out"
        )


def _fold(run: Run) -> Fold:
    best = max(run.epochs, key=lambda row: (row["val_top1"], -row["val_loss"], row["epoch"]))
    test = run.test["top1"] if run.test else None
    return Fold(str(run.path), best["epoch"], best["val_top1"], best["val_loss"], test)
