"""Figures of merit against scikit-learn and torchmetrics."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from vertebra.train.infer import Answers
from vertebra.train.scores import Scores, calibration_bins, score, top_k

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def scored(probabilities: Floats, labels: Ints, names: tuple[str, ...]) -> Scores:
    """With the losses that these probabilities mean."""
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    with np.errstate(divide="ignore"):
        return score(probabilities, labels, names, -np.log(true))


def guesses(
    images: int, classes: int, seed: int = 0, sharpness: float = 2.0
) -> tuple[Floats, Ints]:
    """Softmax probabilities that favour the true class, and the true classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = sharpness * rng.normal(size=(images, classes))
    logits[np.arange(images), labels] += 1.5
    logits -= logits.max(axis=1, keepdims=True)
    weights = np.exp(logits)
    return weights / weights.sum(axis=1, keepdims=True), labels.astype(np.int64)


def names(classes: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(classes))


def torchmetrics_ece(probabilities: Floats, labels: Ints) -> float:
    value = multiclass_calibration_error(
        torch.from_numpy(probabilities),
        torch.from_numpy(labels),
        num_classes=probabilities.shape[1],
        n_bins=15,
        norm="l1",
    )
    return float(value)


SIZES = [(1, 2), (7, 3), (200, 10), (1000, 4), (500, 37)]


@pytest.mark.parametrize(("images", "classes"), SIZES)
def test_top1_loss_and_confusion_are_scikit_learns(images: int, classes: int) -> None:
    probabilities, labels = guesses(images, classes)
    ours = scored(probabilities, labels, names(classes))
    predicted = probabilities.argmax(axis=1)
    every = list(range(classes))
    assert ours.images == images
    assert ours.top1 == pytest.approx(accuracy_score(labels, predicted), abs=1e-12)
    assert ours.loss == pytest.approx(log_loss(labels, probabilities, labels=every), rel=1e-9)
    assert np.array_equal(ours.confusion, confusion_matrix(labels, predicted, labels=every))


@pytest.mark.parametrize(("images", "classes"), SIZES)
def test_classes_are_scikit_learns(images: int, classes: int) -> None:
    probabilities, labels = guesses(images, classes, seed=1)
    ours = scored(probabilities, labels, names(classes)).classes
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=list(range(classes)), zero_division=0
    )
    assert [entry.name for entry in ours] == list(names(classes))
    assert [entry.images for entry in ours] == support.tolist()
    assert [entry.precision for entry in ours] == pytest.approx(precision.tolist(), abs=1e-12)
    assert [entry.recall for entry in ours] == pytest.approx(recall.tolist(), abs=1e-12)
    assert [entry.f1 for entry in ours] == pytest.approx(f1.tolist(), abs=1e-12)


@pytest.mark.parametrize("classes", [2, 5, 6, 10, 37])
def test_top5_is_scikit_learns_or_says_nothing(classes: int) -> None:
    probabilities, labels = guesses(300, classes, seed=2)
    ours = scored(probabilities, labels, names(classes)).top5
    if classes < 6:
        assert ours is None
    else:
        expected = top_k_accuracy_score(labels, probabilities, k=5, labels=list(range(classes)))
        assert ours == pytest.approx(expected, abs=1e-12)


def test_top_k_grows_to_one() -> None:
    probabilities, labels = guesses(300, 10)
    shares = [top_k(probabilities, labels, k) for k in range(1, 11)]
    assert shares == sorted(shares)
    assert shares[0] == scored(probabilities, labels, names(10)).top1
    assert shares[-1] == 1


def test_a_network_that_cannot_tell_gets_the_share_of_its_guess() -> None:
    """Ties must not be counted as hits for everyone: a dead network is not 100 % right."""
    labels = np.arange(10).repeat(7)
    ours = scored(np.full((70, 10), 0.1), labels, names(10))
    assert ours.top1 == pytest.approx(0.1)
    assert ours.top5 == pytest.approx(0.5)
    assert ours.loss == pytest.approx(np.log(10))
    assert ours.ece == pytest.approx(0, abs=1e-12)


def test_classes_that_no_label_has() -> None:
    probabilities, labels = guesses(200, 8, seed=3)
    labels = labels % 3
    ours = scored(probabilities, labels, names(8))
    every = list(range(8))
    predicted = probabilities.argmax(axis=1)
    assert np.array_equal(ours.confusion, confusion_matrix(labels, predicted, labels=every))
    for entry in ours.classes[3:]:
        assert (entry.images, entry.precision, entry.recall, entry.f1) == (0, 0, 0, 0)
    assert ours.loss == pytest.approx(log_loss(labels, probabilities, labels=every), rel=1e-9)


def test_a_class_that_is_never_claimed() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]])
    ours = scored(probabilities, np.array([0, 1]), names(2)).classes[1]
    assert (ours.images, ours.precision, ours.recall, ours.f1) == (1, 0, 0, 0)


# Calibration


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("images", "classes"), SIZES)
def test_calibration_error_is_torchmetrics(images: int, classes: int, seed: int) -> None:
    probabilities, labels = guesses(images, classes, seed, sharpness=1 + seed)
    ours = scored(probabilities, labels, names(classes)).ece
    assert ours == pytest.approx(torchmetrics_ece(probabilities, labels), abs=2e-6)


def equation_3(confidence: list[float], correct: list[bool]) -> float:
    """Guo et al. word by word: bins ((m-1)/15, m/15], each with its distance and its weight."""
    total = 0.0
    for m in range(1, 16):
        inside = [n for n, c in enumerate(confidence) if (m - 1) / 15 < c <= m / 15]
        if inside:
            accuracy = sum(correct[n] for n in inside) / len(inside)
            mean = sum(confidence[n] for n in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return total


def test_calibration_error_on_the_edges_of_bins() -> None:
    # torchmetrics puts an edge into the bin above it and 1.0 into one of its own; the paper's bins
    # are closed above, so here the paper itself is the other opinion.
    edges = [m / 15 for m in range(8, 16)]
    confidence = [*edges, *edges, *np.nextafter(edges, 0).tolist(), 1.0, 8 / 15]
    labels = np.arange(len(confidence)) % 3 % 2
    probabilities = np.array([[c, 1 - c] for c in confidence])
    ours = scored(probabilities, labels, names(2)).ece
    assert ours == pytest.approx(equation_3(confidence, (labels == 0).tolist()), abs=1e-12)


def test_certainty_alone_is_torchmetrics() -> None:
    probabilities = np.eye(4)[[0, 1, 2, 3, 0, 1]]
    labels = np.array([0, 1, 0, 3, 1, 2])
    ours = scored(probabilities, labels, names(4)).ece
    assert ours == pytest.approx(torchmetrics_ece(probabilities, labels), abs=1e-6) == 0.5


@pytest.mark.parametrize("m", range(1, 16))
def test_a_bin_includes_its_upper_edge(m: int) -> None:
    (found,) = calibration_bins(np.array([m / 15]), np.array([True]))
    assert found.low == pytest.approx((m - 1) / 15)
    assert found.high == pytest.approx(m / 15)
    if m < 15:
        (above,) = calibration_bins(np.array([m / 15 + 1e-12]), np.array([True]))
        assert above.low == found.high


@pytest.mark.parametrize("right", [True, False])
def test_certainty_is_counted(right: bool) -> None:
    probabilities = np.eye(3)[[0, 1, 2, 0]]
    labels = np.array([0, 1, 2, 0]) if right else np.array([1, 2, 0, 1])
    ours = scored(probabilities, labels, names(3))
    assert ours.ece == (0 if right else 1)
    (only,) = ours.calibration
    assert (only.high, only.confidence, only.images) == (1, 1, 4)


def test_bins_are_scikit_learns() -> None:
    rng = np.random.default_rng(5)
    confidence = rng.uniform(0.05, 1, 2000)
    correct = rng.uniform(size=2000) < confidence**2
    ours = calibration_bins(confidence, correct)
    accuracy, mean = calibration_curve(correct, confidence, n_bins=15, strategy="uniform")
    assert [entry.accuracy for entry in ours] == pytest.approx(accuracy.tolist(), abs=1e-12)
    assert [entry.confidence for entry in ours] == pytest.approx(mean.tolist(), abs=1e-12)
    assert sum(entry.images for entry in ours) == 2000
    counts, _ = np.histogram(confidence, bins=15, range=(0, 1))
    assert [entry.images for entry in ours] == [count for count in counts.tolist() if count]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 60),
    classes=st.integers(2, 12),
    sharpness=st.floats(0.01, 200),
)
def test_any_guesses(seed: int, images: int, classes: int, sharpness: float) -> None:
    probabilities, labels = guesses(images, classes, seed, sharpness)
    ours = scored(probabilities, labels, names(classes))
    # Away from the edges, where the two mean the same; see the test of the edges.
    top = probabilities.max(axis=1)
    if np.abs(top[:, None] - np.arange(16) / 15).min() > 1e-6:
        assert ours.ece == pytest.approx(torchmetrics_ece(probabilities, labels), abs=5e-6)
    right = (probabilities.argmax(axis=1) == labels).tolist()
    assert ours.ece == pytest.approx(equation_3(top.tolist(), right), abs=1e-9)
    assert sum(entry.images for entry in ours.calibration) == images
    for entry in ours.calibration:
        assert entry.low - 1e-12 <= entry.confidence <= entry.high + 1e-12
    assert int(ours.confusion.sum()) == images


def test_a_loss_that_no_probability_can_hold() -> None:
    logits = torch.tensor([[0.0, 2000.0], [3.0, 1.0], [-5e5, 5e5]])
    labels = np.array([0, 0, 0])
    answers = Answers(logits, labels, np.arange(len(labels)))
    expected = F.cross_entropy(logits.double(), torch.from_numpy(labels)).item()
    ours = score(answers.probabilities, labels, names(2), answers.losses(labels))
    assert ours.loss == pytest.approx(expected, rel=1e-12)
    assert ours.loss > 300_000


def test_probabilities_of_float32_are_scored_alike() -> None:
    probabilities, labels = guesses(500, 10)
    exact = scored(probabilities, labels, names(10))
    rounded = scored(probabilities.astype(np.float32), labels, names(10))
    assert rounded.top1 == exact.top1
    assert rounded.ece == pytest.approx(exact.ece, abs=1e-5)
    assert rounded.loss == pytest.approx(exact.loss, rel=1e-5)


def test_scores_are_plain_data() -> None:
    probabilities, labels = guesses(50, 7)
    plain: dict[str, Any] = scored(probabilities, labels, names(7)).to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert len(plain["classes"]) == len(plain["confusion"]) == 7
