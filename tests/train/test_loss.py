"""What is minimised, against torch, scikit-learn and the formulas as they are printed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F

from vertebra.nn.backbone import Outputs
from vertebra.runs.sections import TrainSection
from vertebra.train.loss import Targets, class_weights, cross_entropy, losses

CLASSES = 5


@pytest.fixture
def logits() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, CLASSES, generator=generator, dtype=torch.float64) * 3


LABELS = torch.arange(12) % 4
OTHERS = torch.arange(12).flip(0) % CLASSES
SHARE = torch.linspace(0.05, 1, 12, dtype=torch.float64)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_plain_and_smoothed_are_torchs(logits: Tensor, smoothing: float) -> None:
    expected = F.cross_entropy(logits, LABELS, label_smoothing=smoothing, reduction="sum")
    assert cross_entropy(logits, LABELS, smoothing).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mixed_targets_are_those_of_mixed_vectors(logits: Tensor, smoothing: float) -> None:
    """torch's cross-entropy with probabilities, mixed as MixUp's equation mixes one-hot vectors."""
    share = SHARE[:, None]
    vectors = share * F.one_hot(LABELS, CLASSES) + (1 - share) * F.one_hot(OTHERS, CLASSES)
    expected = F.cross_entropy(logits, vectors, label_smoothing=smoothing, reduction="sum")
    found = cross_entropy(logits, Targets(LABELS, OTHERS, SHARE), smoothing)
    assert found.item() == pytest.approx(expected.item())


def test_weighted_is_torchs(logits: Tensor) -> None:
    weights = torch.tensor([0.5, 2.0, 1.0, 0.1, 3.0], dtype=torch.float64)
    for smoothing in (0.0, 0.2):
        expected = F.cross_entropy(
            logits, LABELS, weight=weights, label_smoothing=smoothing, reduction="sum"
        )
        found = cross_entropy(logits, LABELS, smoothing, weights)
        assert found.item() == pytest.approx(expected.item())


def test_class_weights_are_scikit_learns() -> None:
    labels = np.array([0] * 50 + [1] * 5 + [2] * 20)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights(labels, 3).tolist() == pytest.approx(expected.tolist())
    assert class_weights(labels, 4).tolist()[3] == 0, "a class that no image has"
    assert class_weights(labels, 3)[labels].mean() == pytest.approx(1), "the loss keeps its size"


def test_a_teacher_is_followed_as_hinton_has_it(logits: Tensor) -> None:
    teacher = logits.flip(1) * 0.7
    section = TrainSection(distill={"weight": 0.7, "temperature": 3.0}, label_smoothing=0.1)
    divergence = kl_divergence(Categorical(logits=teacher / 3), Categorical(logits=logits / 3))
    hard = F.cross_entropy(logits, LABELS, label_smoothing=0.1, reduction="sum")
    found = losses(Outputs(logits), Targets.plain(LABELS), section, None, teacher)
    assert found.labels.item() == pytest.approx(hard.item())
    assert found.total.item() == pytest.approx((0.3 * hard + 0.7 * 9 * divergence.sum()).item())


def test_auxiliary_heads_count_by_their_weight(logits: Tensor) -> None:
    outputs = Outputs(logits, (logits * 2, logits * 0.5), 0.3)
    found = losses(outputs, Targets.plain(LABELS), TrainSection())
    parts = [F.cross_entropy(logits * k, LABELS, reduction="sum") for k in (1, 2, 0.5)]
    assert found.total.item() == pytest.approx((parts[0] + 0.3 * (parts[1] + parts[2])).item())
    assert found.labels.item() == pytest.approx(parts[0].item())
