"""Views at test time against torchvision's."""

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from vertebra.core import Preprocessing, VertebraError
from vertebra.data.augment import flip_views, ten_crop_views, views_of

SMALL = Preprocessing(24, 32, (0.5,) * 3, (0.25,) * 3)


def pictures(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("shape", [(2, 3, 24, 24), (3, 1, 31, 40), (1, 3, 37, 24)])
def test_ten_crops_are_torchvisions(shape: tuple[int, ...]) -> None:
    images = pictures(*shape)
    expected = torch.stack(list(tvf.ten_crop(images, [24, 24])))
    assert torch.equal(ten_crop_views(images, 24), expected)
    assert torch.equal(ten_crop_views(images.float(), 24), expected.float())


def test_flipped_views_are_torchvisions() -> None:
    images = pictures(2, 3, 8, 9)
    assert torch.equal(flip_views(images), torch.stack([images, tvf.horizontal_flip(images)]))


@pytest.mark.parametrize("size", [(40, 50), (20, 64), (32, 32)])
def test_views_of_one_image(size: tuple[int, int]) -> None:
    image = pictures(3, *size)
    resized = v2.Resize(32, antialias=True)(image)
    centre = v2.CenterCrop(24)(resized)
    flipped = torch.stack([centre, tvf.horizontal_flip(centre)])
    assert torch.equal(views_of(image, "flip", SMALL), flipped)
    crops = torch.stack(v2.TenCrop(24)(resized))
    assert torch.equal(views_of(image, "ten_crop", SMALL), crops)


def test_an_unknown_kind_suggests_one() -> None:
    with pytest.raises(VertebraError, match="did you mean ten_crop"):
        views_of(pictures(3, 32, 32), "ten_crops", SMALL)


def test_crops_that_do_not_fit() -> None:
    with pytest.raises(VertebraError, match="resize to 24 or more"):
        ten_crop_views(pictures(1, 3, 20, 40), 24)
