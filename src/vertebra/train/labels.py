"""Labels that look wrong to a network that was not trained on them.

Confident learning (Northcutt, Jiang and Chuang, 2021, arXiv:1911.00068): a class's threshold is
the mean probability of that class over the images labelled so, which allows for a network that is
surer of some classes than of others. An image counts into the class of largest probability among
those that reach their threshold; where that is not its label, the label is in doubt (their
"confident joint", off the diagonal). Worst first is by the margin, the label's probability less the
other's (their "normalized margin").
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vertebra.core import VertebraError
from vertebra.data.inspection import Suspect, Suspects
from vertebra.runs import Recipe, Run
from vertebra.train.evaluate import Evaluation, evaluate
from vertebra.train.folds import SUMMARY

MOST_ROWS = 500
HELD_OUT = ("val", "test")

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Doubts(NamedTuple):
    """Places (n,) of images whose label is in doubt, worst first, and what they look like (n,)."""

    places: Ints
    suggested: Ints


def doubts(probabilities: Floats, labels: Ints) -> Doubts:
    """Labels (N,) in doubt by probabilities (N, classes) of a network not trained on the images."""
    count, classes = probabilities.shape
    # A class that no image is labelled with suggests nothing.
    thresholds = np.full(classes, np.inf)
    own = probabilities[np.arange(count), labels].astype(np.float64)
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, own, minlength=classes)
    thresholds[counts > 0] = sums[counts > 0] / counts[counts > 0]
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    best = reached.argmax(axis=1)
    places = np.flatnonzero((reached.max(axis=1) >= 0) & (best != labels))
    margin = own[places] - probabilities[places, best[places]]
    order = np.argsort(margin, kind="stable")
    return Doubts(places[order], best[places][order])


def recipe_of(run: str | Path) -> Recipe:
    """The recipe of a run, or that of a cross-validation without its folds.

    Raises:
        VertebraError: the folder is neither.
    """
    path = Path(run)
    if _is_folds(path):
        return Run.open(path / "fold-0").recipe.override(**{"data.folds": None, "data.fold": None})
    return Run.open(path).recipe


def suspicious_labels(run: str | Path, source: str | None = None) -> Suspects:
    """Labels in doubt among the images that a run was not trained on: its val and test splits.

    Of a cross-validation's folder, which holds ``folds.json``, each image of train and val is
    judged by the fold that held it out, and test by the mean of all folds.

    Args:
        run: a finished run, or the folder of a cross-validation.
        source: name of the data that it has to be of, as ``Source.name``.

    Raises:
        VertebraError: it is no such folder or of other data; or the data has changed since.
    """
    path = Path(run)
    folds = _fold_runs(path) if _is_folds(path) else [Run.open(path)]
    trained_on = folds[0].card["source"]
    if source is not None and trained_on != source:
        raise VertebraError(f"{path} was trained on {trained_on} and not on {source}; name its own")
    found = list(_held_out(folds))
    probabilities = np.concatenate([one.probabilities for one in found])
    labels = np.concatenate([one.labels for one in found])
    names, splits = [name for one in found for name in one.ids], []
    for one in found:
        splits += [one.split] * len(one.labels)
    worst = doubts(probabilities, labels)
    classes = folds[0].classes
    rows = [
        Suspect(
            id=names[at],
            split=splits[at],
            label=classes[int(labels[at])],
            suggested=classes[other],
            label_probability=float(probabilities[at, labels[at]]),
            suggested_probability=float(probabilities[at, other]),
        )
        for at, other in zip(
            worst.places[:MOST_ROWS].tolist(), worst.suggested[:MOST_ROWS].tolist(), strict=True
        )
    ]
    # What only one fold has to say is of its division, which is not that of the whole.
    notes = [note for note in found[0].notes if all(note in one.notes for one in found)]
    return Suspects(str(path), len(labels), len(worst.places), tuple(rows), tuple(notes))


class _Held(NamedTuple):
    """What was said of images that were held out."""

    split: str
    probabilities: Floats
    labels: Ints
    ids: tuple[str, ...]
    notes: tuple[str, ...]


def _held_out(runs: list[Run]) -> Iterator[_Held]:
    for split in HELD_OUT:
        judged = [evaluate(run, split) for run in runs if run.card["counts"].get(split)]
        if split == "val" or len(judged) == 1:
            yield from map(_held, judged)
        elif judged:
            first = _held(judged[0])
            every = np.stack([one.probabilities for one in judged])
            yield first._replace(probabilities=every.mean(axis=0))


def _held(one: Evaluation) -> _Held:
    return _Held(one.split, one.probabilities, one.labels, one.ids, one.notes)


def _is_folds(path: Path) -> bool:
    return (path / SUMMARY).is_file()


def _fold_runs(path: Path) -> list[Run]:
    # By their places and not by the paths that were written down: the folder may have moved.
    first = Run.open(path / "fold-0")
    return [first, *(Run.open(path / f"fold-{k}") for k in range(1, first.recipe.data.folds or 1))]
