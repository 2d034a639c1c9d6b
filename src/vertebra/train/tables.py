"""Scores as tables of words, for the page and for the command line."""

from __future__ import annotations

from collections.abc import Iterable

from vertebra.report import count, percent
from vertebra.train.scores import ClassScores, Scores

CLASS_COLUMNS = ("class", "images", "precision", "recall", "F1")
CONFUSED_COLUMNS = ("it is", "it said", "images")
MATRIX_CLASSES = 20  # a matrix of more classes is not readable; its worst pairs are


def class_rows(classes: Iterable[ClassScores]) -> list[tuple[str, ...]]:
    """One row a class under ``CLASS_COLUMNS``."""
    return [
        (c.name, count(c.images), percent(c.precision, 1), percent(c.recall, 1), percent(c.f1, 1))
        for c in classes
    ]


def confused_rows(scores: Scores, most: int = 20) -> list[tuple[str, ...]]:
    """The pairs most often confused under ``CONFUSED_COLUMNS``."""
    return [(is_, said, count(n)) for is_, said, n in scores.confused_pairs()[:most]]
