"""MixUp and CutMix against torchvision's blending, given what was drawn, and against statistics."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from vertebra.core import rng
from vertebra.data.augment import mix
from vertebra.data.augment.mixing import Mixture, blend, draw_mixture, pasted_box
from vertebra.data.jpeg import Box


@dataclass
class Section:
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_prob: float = 1.0
    mix_switch: float = 0.5


def batch(count: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 13, 17, generator=generator), torch.arange(count)


@pytest.mark.parametrize("lam", [0.1, 0.5, 0.9])
def test_mixup_is_torchvisions(lam: float) -> None:
    images, targets = batch()
    theirs = v2.MixUp(alpha=1.0, num_classes=6)
    expected = theirs.transform(images, {"lam": lam, "labels": targets, "batch_size": len(images)})
    partners = torch.arange(6).roll(1)  # torchvision's partner is the image before
    torch.testing.assert_close(blend(images, partners, Mixture(lam, None)), expected)


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_is_torchvisions(seed: int) -> None:
    images, targets = batch()
    theirs = v2.CutMix(alpha=1.0, num_classes=6)
    torch.manual_seed(seed)
    params = theirs.make_params([images])
    torch.manual_seed(seed)
    lam = float(theirs._dist.sample(()))
    column, row = (int(torch.randint(side, (1,))) / side for side in (17, 13))
    box = pasted_box(13, 17, lam, row + 1e-9, column + 1e-9)
    x1, y1, x2, y2 = params["box"]
    assert box == Box(y1, x1, y2 - y1, x2 - x1)
    params |= {"labels": targets, "batch_size": 6}
    expected = theirs.transform(images, params)
    mixture = Mixture(params["lam_adjusted"], box)
    assert torch.equal(blend(images, torch.arange(6).roll(1), mixture), expected)


def test_the_loss_of_both_labels_is_that_of_blended_ones() -> None:
    """What torchvision's labels give, and what (a, b, lam) give, is one number."""
    images, targets = batch()
    mixed = mix(images, targets, Section(mixup=1.0), rng(0, "mix", 3))
    logits = torch.randn(6, 6)
    loss = torch.nn.functional.cross_entropy
    one_hot = torch.eye(6)
    blended = mixed.lam * one_hot[mixed.targets_a] + (1 - mixed.lam) * one_hot[mixed.targets_b]
    pair = mixed.lam * loss(logits, mixed.targets_a)
    pair += (1 - mixed.lam) * loss(logits, mixed.targets_b)
    torch.testing.assert_close(pair, loss(logits, blended))
    assert 0 < mixed.lam < 1
    assert not torch.equal(mixed.targets_a, mixed.targets_b)


def test_the_labels_name_the_images_that_were_mixed() -> None:
    images = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 16, 16)
    for section in (Section(mixup=1.0), Section(cutmix=1.0)):
        for step in range(20):
            mixed = mix(images, torch.arange(8), section, rng(0, "mix", step))
            mean = mixed.lam * mixed.targets_a + (1 - mixed.lam) * mixed.targets_b
            torch.testing.assert_close(mixed.images.mean((1, 2, 3)), mean.float())


def test_cutmix_says_the_area_that_was_really_pasted() -> None:
    zeros, ones = torch.zeros(1, 1, 31, 19), torch.ones(1, 1, 31, 19)
    images = torch.cat([zeros, ones])
    shares = set()
    for step in range(60):
        mixed = mix(images, torch.arange(2), Section(cutmix=1.0), rng(1, "mix", step))
        if bool((mixed.targets_a != mixed.targets_b).all()):
            share = float(mixed.images[0].mean())
            assert share == pytest.approx(1 - mixed.lam, abs=1e-6)
            shares.add(round(share, 3))
    assert len(shares) > 15


def test_lam_is_beta_distributed() -> None:
    for alpha in (0.2, 1.0):
        section = Section(mixup=alpha)
        lams = [draw_mixture(section, 8, 8, rng(0, "mix", step)).lam for step in range(4000)]
        # The mean and the variance of Beta(a, a): 1/2 and 1 / (4 (2 a + 1)).
        assert np.mean(lams) == pytest.approx(0.5, abs=0.03)
        assert np.var(lams) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)


def test_how_often_a_step_is_mixed_and_how() -> None:
    section = Section(mixup=0.5, cutmix=1.0, mix_prob=0.6, mix_switch=0.3)
    drawn = [draw_mixture(section, 64, 64, rng(0, "mix", step)) for step in range(4000)]
    mixed = [one for one in drawn if one.lam < 1]
    assert len(mixed) / 4000 == pytest.approx(0.6, abs=0.03)
    assert np.mean([one.box is not None for one in mixed]) == pytest.approx(0.3, abs=0.03)


def test_every_micro_batch_of_a_step_is_mixed_alike() -> None:
    section = Section(mixup=0.8, cutmix=1.0)
    for step in range(10):
        first = mix(*batch(6), section, rng(0, "mix", step))
        other = mix(*batch(4, seed=1), section, rng(0, "mix", step))
        assert first.lam == other.lam
    assert mix(*batch(), section, rng(0, "mix", 1)).lam != first.lam


def test_nothing_is_mixed_where_nothing_is_asked_for() -> None:
    images, targets = batch()
    for section in (Section(), Section(mixup=1.0, cutmix=1.0, mix_prob=0.0)):
        mixed = mix(images, targets, section, rng(0, "mix", 0))
        assert mixed.lam == 1.0
        assert torch.equal(mixed.images, images)
        assert torch.equal(mixed.targets_b, targets)


def test_the_batch_given_is_left_alone() -> None:
    images, targets = batch()
    before = images.clone()
    for step in range(4):
        mixed = mix(images, targets, Section(mixup=1.0, cutmix=1.0), rng(0, "mix", step))
        assert torch.equal(images, before)
        assert not torch.equal(mixed.images, before)


def test_a_batch_of_one_has_no_partner() -> None:
    images, targets = batch(1)
    mixed = mix(images, targets, Section(mixup=1.0), rng(0, "mix", 0))
    assert mixed.lam == 1.0
    assert torch.equal(mixed.images, images)


def test_the_memory_format_of_the_batch_is_kept() -> None:
    images, targets = batch()
    images = images.contiguous(memory_format=torch.channels_last)
    for section in (Section(mixup=1.0), Section(cutmix=1.0)):
        mixed = mix(images, targets, section, rng(0, "mix", 0))
        assert mixed.images.is_contiguous(memory_format=torch.channels_last)
