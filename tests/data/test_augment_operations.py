"""Each operation against transforms v2, to the bit but for warps."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from vertebra.data.augment import operations as op
from vertebra.data.augment import warps
from vertebra.data.augment.policies import SOONER, policy

FILL = [124.0, 116.0, 104.0]
SLOPES = torch.linspace(-0.99, 0.99, 31).tolist()
FACTORS = [0.0, 0.01, 0.37, 0.6, 1.0, 1.3999, 1.9]
PAIRS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], list[float]]] = {
    "brightness": (op.brightness, tvf.adjust_brightness, FACTORS),
    "contrast": (op.contrast, tvf.adjust_contrast, FACTORS),
    "saturation": (op.saturation, tvf.adjust_saturation, FACTORS),
    "sharpness": (op.sharpness, tvf.adjust_sharpness, FACTORS),
    "solarize": (op.solarize, tvf.solarize, [255 * m for m in torch.linspace(1, 0, 31).tolist()]),
}


def images() -> dict[str, Tensor]:
    photograph = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (3, 61, 47), dtype=torch.uint8, generator=generator)
    return {
        "photograph": photograph[:, 90:301, 140:383],
        "noise": noise,
        "every grey": torch.arange(256, dtype=torch.uint8).view(1, 16, 16).repeat(3, 2, 1),
        "one grey": torch.full((3, 9, 12), 77, dtype=torch.uint8),
        "two greys": (noise > 200).to(torch.uint8) * 255,
        "dark": noise // 16,
        "narrow": noise[:, :, :2],
    }


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", images())
@pytest.mark.parametrize("name", PAIRS)
def test_operations_are_torchvisions(name: str, kind: str, channels: int) -> None:
    ours, theirs, strengths = PAIRS[name]
    image = images()[kind][:channels].contiguous()
    before = image.clone()
    for strength in strengths:
        assert torch.equal(ours(image, strength), theirs(image, strength)), strength
    assert torch.equal(image, before)


@pytest.mark.parametrize("name", PAIRS)
def test_operations_do_something(name: str) -> None:
    image = images()["photograph"].contiguous()
    ours, _, strengths = PAIRS[name]
    apart = [not torch.equal(ours(image, strength), image) for strength in strengths]
    assert sum(apart) >= len(strengths) - 2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", images())
def test_equalizing_is_torchvisions_and_pillows(kind: str, channels: int) -> None:
    image = images()[kind][:channels].contiguous()
    ours = op.equalize(image)
    assert torch.equal(ours, tvf.equalize(image))
    array = image.permute(1, 2, 0).squeeze(-1).numpy()
    pillow = np.asarray(ImageOps.equalize(Image.fromarray(array)))
    assert np.array_equal(ours.permute(1, 2, 0).squeeze(-1).numpy(), pillow)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("move", [(0, 0), (5, 0), (0, -7), (-60, 0), (46, 0), (-100, 0), (3, 200)])
def test_moving_is_torchvisions(move: tuple[int, int], channels: int) -> None:
    image, fill = images()["noise"][:channels].contiguous(), FILL[:channels]
    expected = tvf.affine(
        image, angle=0.0, translate=list(move), scale=1.0, shear=[0.0, 0.0], fill=fill
    )
    assert torch.equal(warps.translate(image, *move, fill), expected)


WARPS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], list[float]]] = {
    "shear_x": (warps.shear_x, lambda image, by, fill: sheared(image, by, 0.0, fill), SLOPES),
    "shear_y": (warps.shear_y, lambda image, by, fill: sheared(image, 0.0, by, fill), SLOPES),
    "rotate": (
        warps.rotate,
        lambda image, by, fill: tvf.rotate(image, by, fill=fill),
        torch.linspace(-135, 135, 31).tolist(),
    ),
}


def sheared(image: Tensor, x: float, y: float, fill: list[float]) -> Tensor:
    """As the policies of transforms v2 shear."""
    shear = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    return tvf.affine(
        image, angle=0.0, translate=[0, 0], scale=1.0, shear=shear, fill=fill, center=[0, 0]
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["photograph", "noise", "narrow"])
@pytest.mark.parametrize("name", WARPS)
def test_warps_are_torchvisions(name: str, kind: str, channels: int) -> None:
    """But for pixels whose place is a rounding error from the middle between two."""
    ours, theirs, strengths = WARPS[name]
    image, fill = images()[kind][:channels].contiguous(), FILL[:channels]
    for strength in strengths:
        apart = (ours(image, strength, fill) != theirs(image, strength, fill)).any(0)
        assert apart.sum() <= 1e-3 * apart.numel(), strength
        moved = not torch.equal(ours(image, strength, fill), image)
        assert moved == (abs(strength) > 1e-6) or kind == "narrow"


def test_the_policies_use_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """transforms v2 still asks the method that is overridden, which is not public."""
    used = set()
    for name, run in list(SOONER.items()):

        def noted(image: Tensor, *rest: object, name: str = name, run: object = run) -> Tensor:
            used.add(name)
            return run(image, *rest)  # type: ignore[operator]

        monkeypatch.setitem(SOONER, name, noted)
    torch.manual_seed(0)
    augment = policy("randaugment", 2, 9, FILL)
    for _ in range(100):
        augment(images()["noise"])
    assert used == set(SOONER)
    assert isinstance(augment, v2.RandAugment)
