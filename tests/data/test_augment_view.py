"""The whole training view against torchvision's transforms v2, chained, under the same seed."""

import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms import v2

from vertebra.core import Preprocessing, VertebraError
from vertebra.data.augment import augmentation
from vertebra.data.augment.policies import policy
from vertebra.runs.recipe import AugmentSection

MEAN = (0.485, 0.456, 0.406)
FILL = [124.0, 116.0, 104.0]
VIEW = Preprocessing(48, 56, MEAN, (0.229, 0.224, 0.225))


def photograph(channels: int = 3) -> Tensor:
    pixels = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)
    return pixels[:channels, 100:300, 200:460]


def differ(ours: object, theirs: object, image: Tensor, seeds: int = 40) -> int:
    """How many of the results differ from the image, once all are found equal to theirs."""
    changed = 0
    for seed in range(seeds):
        torch.manual_seed(seed)
        expected = theirs(image)  # type: ignore[operator]
        after = torch.rand(1)
        torch.manual_seed(seed)
        result = ours(image)  # type: ignore[operator]
        # Warps may take a neighbour where a place is a rounding error from the middle of two.
        assert (result != expected).any(0).sum() <= 2, seed
        assert torch.rand(1) == after, "as many draws as theirs"
        changed += result.shape != image.shape or not torch.equal(result, image)
    return changed


POLICIES = {
    "autoaugment": lambda fill: v2.AutoAugment(fill=fill),
    "randaugment": lambda fill: v2.RandAugment(3, 17, fill=fill),
    "trivialaugment": lambda fill: v2.TrivialAugmentWide(fill=fill),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", POLICIES)
def test_policies_are_torchvisions(name: str, channels: int) -> None:
    image = v2.functional.resize(photograph(channels), [40, 52])
    fill = FILL[:channels]
    ours = policy(name, 3, 17, fill)
    assert differ(ours, POLICIES[name](fill), image, seeds=200) > 100


def test_an_unknown_policy_suggests_one() -> None:
    with pytest.raises(VertebraError, match="did you mean randaugment"):
        policy("randaug", 2, 9, FILL)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", [0.4, 2.0])
def test_jitter_is_torchvisions(strength: float, channels: int) -> None:
    section = AugmentSection(crop="none", jitter=strength)
    own = Preprocessing(200, 200, MEAN[:channels], (0.2,) * channels)
    image = photograph(channels)[:, :, :200]
    jitter = v2.ColorJitter(strength, strength, strength)
    assert differ(augmentation(section, own), jitter, image) == 40


@pytest.mark.parametrize("channels", [1, 3])
def test_erasing_is_torchvisions(channels: int) -> None:
    section = AugmentSection(crop="none", erase=0.6)
    own = Preprocessing(200, 200, MEAN[:channels], (0.2,) * channels)
    image = photograph(channels)[:, :, :200]
    erasing = v2.RandomErasing(0.6, value=FILL[:channels])
    before = image.clone()
    assert 14 < differ(augmentation(section, own), erasing, image) < 34
    assert torch.equal(image, before), "which a cache may hold"


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_whole_view_is_torchvisions(mode: str) -> None:
    section = AugmentSection(
        crop="resized",
        scale=(0.08, 1.0),
        ratio=(0.5, 2.0),
        interpolation=mode,
        flip=True,
        policy="trivialaugment",
        jitter=0.3,
        erase=0.5,
    )
    theirs = v2.Compose(
        [
            v2.RandomResizedCrop(
                48, (0.08, 1.0), (0.5, 2.0), v2.InterpolationMode(mode), antialias=True
            ),
            v2.RandomHorizontalFlip(),
            v2.TrivialAugmentWide(fill=FILL),
            v2.ColorJitter(0.3, 0.3, 0.3),
            v2.RandomErasing(0.5, value=FILL),
        ]
    )
    assert differ(augmentation(section, VIEW), theirs, photograph(), seeds=60) == 60


def test_without_a_crop_the_centre_is_seen() -> None:
    section = AugmentSection(crop="none", flip=True)
    theirs = v2.Compose([v2.Resize(56), v2.CenterCrop(48), v2.RandomHorizontalFlip()])
    assert differ(augmentation(section, VIEW), theirs, photograph()) == 40
