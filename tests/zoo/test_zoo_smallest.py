"""The least image that each network takes: large enough, no larger than it must be, and refused."""

from typing import Any

import pytest
import torch

from vertebra.core import VertebraError
from vertebra.nn import Backbone
from vertebra.zoo import create
from vertebra.zoo.registry import load_families

# ViT takes whole patches only, which is an error of its own. One network of each size is enough.
KINDS: list[tuple[str, dict[str, Any]]] = [
    (name, {})
    for name in {
        (family.name, row.smallest): name
        for family in load_families().values()
        for name, row in family.variants.items()
        if family.name != "vit"
    }.values()
]
CASES = [*KINDS, ("alexnet", {"unpadded": True})]


def _build(name: str, options: dict[str, Any]) -> Backbone:
    with torch.device("meta"):
        return create(name, **options).eval()


def _images(net: Backbone, height: int, width: int) -> torch.Tensor:
    return torch.empty(2, net.input_size[0], height, width, device="meta")


@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_smallest_image_leaves_a_pixel_in_every_map(name: str, options: dict[str, Any]) -> None:
    net = _build(name, options)
    for size in ((net.smallest, net.smallest + 20), (net.smallest + 20, net.smallest)):
        maps = net.features(_images(net, *size))
        assert all(map_.numel() for map_ in maps)
        if name.startswith("lenet"):  # its head takes 32x32 only
            size = (32, 32)
        assert net(_images(net, *size)).shape == (2, net.num_classes)


@pytest.mark.parametrize(
    ("name", "options"), [case for case in CASES if _build(*case).smallest > 1]
)
def test_a_smaller_image_is_refused_for_a_reason(name: str, options: dict[str, Any]) -> None:
    net = _build(name, options)
    smaller = _images(net, net.smallest + 20, net.smallest - 1)
    said = f"{name} takes images of {net.smallest}x{net.smallest} pixels or more, got "
    for method in (net, net.forward_train, net.embed, net.features):
        with pytest.raises(VertebraError, match=said):
            method(smaller)
    with pytest.raises(VertebraError, match=f"{name} takes .*{net.smallest}x{net.smallest}"):
        create(name, input_size=tuple(smaller.shape[1:]), **options)
    net.smallest = 1
    with pytest.raises(RuntimeError):
        net(smaller)
