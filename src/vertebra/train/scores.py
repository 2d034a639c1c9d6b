"""Figures of merit from probabilities and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ECE_BINS = 15
Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ClassScores:
    """One class: images, precision, recall and F1; 0 where a ratio has nothing under it."""

    name: str
    images: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class CalibrationBin:
    """One of the equal bins of confidence: how sure, how right, how many."""

    low: float
    high: float
    confidence: float
    accuracy: float
    images: int


@dataclass(frozen=True)
class Scores:
    """What :func:`score` computes. All shares lie in [0, 1].

    ``confusion[i, j]`` counts images of class i that were taken for class j. ``ece`` is the
    expected calibration error: the mean distance between confidence and accuracy over 15 equal
    bins, weighted by images (Guo et al., 2017, arXiv:1706.04599, equation 3). ``top5`` is None
    below six classes, where it says nothing.
    """

    images: int
    top1: float
    top5: float | None
    loss: float
    ece: float
    classes: tuple[ClassScores, ...]
    confusion: Ints
    calibration: tuple[CalibrationBin, ...]

    @property
    def errors(self) -> int:
        """Images that were taken for another class."""
        return int(self.confusion.sum() - np.trace(self.confusion))

    def confused_pairs(self) -> list[tuple[str, str, int]]:
        """(what it is, what was said, images) of each wrong pair that occurred, most images first.

        Ties stand in the order of the classes.
        """
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        places = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
        pairs = zip(*np.unravel_index(places, wrong.shape), strict=True)
        names = [entry.name for entry in self.classes]
        return [(names[i], names[j], int(wrong[i, j])) for i, j in pairs]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "images": self.images,
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "ece": self.ece,
            "classes": [vars(entry) for entry in self.classes],
            "confusion": self.confusion.tolist(),
            "calibration": [vars(entry) for entry in self.calibration],
        }


def score(probabilities: Floats, labels: Ints, names: tuple[str, ...], losses: Floats) -> Scores:
    """Score predictions.

    Args:
        probabilities: (N, classes), each row summing to 1.
        labels: true classes (N,), N at least 1.
        names: the classes' names.
        losses: cross-entropy (N,) of each image in nats, from the logits: a probability of 1e-400
            has underflowed to zero.
    """
    probabilities = probabilities.astype(np.float64)
    predicted = probabilities.argmax(axis=1)
    count = len(names)
    confusion = np.bincount(labels * count + predicted, minlength=count * count)
    confusion = confusion.reshape(count, count).astype(np.int64)
    bins = calibration_bins(probabilities.max(axis=1), predicted == labels)
    return Scores(
        images=len(labels),
        top1=float((predicted == labels).mean()),
        top5=top_k(probabilities, labels, 5) if count > 5 else None,
        loss=float(losses.mean()),
        ece=sum(b.images * abs(b.confidence - b.accuracy) for b in bins) / len(labels),
        classes=tuple(_class_scores(confusion, names)),
        confusion=confusion,
        calibration=tuple(bins),
    )


def top_k(probabilities: Floats, labels: Ints, k: int) -> float:
    """Share of images whose class is among the ``k`` most probable; ties go to the lower index."""
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((ranked == labels[:, None]).any(axis=1).mean())


def calibration_bins(confidence: Floats, correct: NDArray[np.bool_]) -> list[CalibrationBin]:
    """Divide [0, 1] into 15 equal bins; a bin includes its upper edge. Empty bins are left out."""
    edges = np.linspace(0.0, 1.0, ECE_BINS + 1)
    place = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, ECE_BINS - 1)
    bins = []
    for index in range(ECE_BINS):
        inside = place == index
        if inside.any():
            bins.append(
                CalibrationBin(
                    low=float(edges[index]),
                    high=float(edges[index + 1]),
                    confidence=float(confidence[inside].mean()),
                    accuracy=float(correct[inside].mean()),
                    images=int(inside.sum()),
                )
            )
    return bins


def _class_scores(confusion: Ints, names: tuple[str, ...]) -> list[ClassScores]:
    hits, true, claimed = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    scores = []
    for name, hit, actual, said in zip(names, hits, true, claimed, strict=True):
        precision, recall = _ratio(hit, said), _ratio(hit, actual)
        f1 = _ratio(2 * hit, actual + said)
        scores.append(ClassScores(name, int(actual), precision, recall, f1))
    return scores


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
