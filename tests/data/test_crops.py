"""Boxes, resizing and flips against torchvision's transforms v2 under the same seed, and Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms import v2

from vertebra.data.augment import crops
from vertebra.data.jpeg import Box

SIZES = [(375, 500), (500, 375), (32, 32), (7, 300), (300, 7), (1, 1), (2, 3)]


def photograph() -> Tensor:
    return torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)


@pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (1.0, 1.0), (0.2, 0.3)])
@pytest.mark.parametrize("size", SIZES)
def test_boxes_are_torchvisions(size: tuple[int, int], ratio: tuple[float, float]) -> None:
    height, width = size
    image = torch.empty(3, height, width, dtype=torch.uint8)
    for scale in ((0.08, 1.0), (0.9, 1.0), (0.35, 0.4)):
        theirs = v2.RandomResizedCrop(8, scale=scale, ratio=ratio, antialias=True)
        for seed in range(60):
            torch.manual_seed(seed)
            params = theirs.make_params([image])
            after = torch.rand(1)
            torch.manual_seed(seed)
            box = crops.random_box(height, width, scale, ratio)
            assert box == Box(params["top"], params["left"], params["height"], params["width"])
            assert torch.rand(1) == after, "as many draws as theirs"


def test_boxes_differ_from_draw_to_draw() -> None:
    torch.manual_seed(0)
    drawn = {crops.random_box(375, 500, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(50)}
    assert len(drawn) == 50


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("box", [Box(0, 0, 427, 640), Box(31, 57, 211, 173), Box(400, 600, 9, 5)])
def test_resizing_is_torchvisions_and_pillows(box: Box, channels: int, mode: str) -> None:
    image = photograph()[:channels]
    part = crops.cut(image, box)
    ours = crops.resize(part, 64, 80, mode)
    kind = v2.InterpolationMode(mode)
    expected = v2.functional.resized_crop(image, *box, [64, 80], interpolation=kind)
    assert torch.equal(ours, expected)
    array = part.permute(1, 2, 0).squeeze(-1).numpy()
    pillow = Image.fromarray(np.ascontiguousarray(array)).resize(
        (80, 64), Image.Resampling[mode.upper()]
    )
    apart = np.asarray(pillow).astype(int) - ours.permute(1, 2, 0).squeeze(-1).numpy()
    assert np.abs(apart).max() <= 1


def test_resizing_does_not_ask_how_an_image_lies_in_memory() -> None:
    packed = photograph()
    planes = packed.contiguous()
    assert packed.stride() != planes.stride()
    box = Box(3, 5, 300, 401)
    one, other = (crops.resize(crops.cut(image, box), 96, 96) for image in (packed, planes))
    assert torch.equal(one, other)


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (333, 499), (64, 64), (100, 20)])
@pytest.mark.parametrize("shorter", [32, 64, 219])
def test_the_shorter_side_is_torchvisions(size: tuple[int, int], shorter: int) -> None:
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    expected = v2.Resize(shorter, antialias=True)(image)
    assert torch.equal(crops.resize_shorter(image, shorter), expected)
    assert crops.shorter_to(*size, shorter) == expected.shape[1:]


def test_flips_are_torchvisions() -> None:
    image = photograph()
    flipped = 0
    for seed in range(20):
        torch.manual_seed(seed)
        expected = v2.RandomHorizontalFlip()(image)
        torch.manual_seed(seed)
        ours = crops.random_flip(image)
        assert torch.equal(ours, expected)
        flipped += not torch.equal(ours, image)
    assert 3 < flipped < 17
