"""The least image that each network takes: large enough, no larger than it must be, and refused."""

from typing import Any

import pytest
import torch
import torch.fx

from vertebra.core import VertebraError
from vertebra.nn import Backbone
from vertebra.zoo import create
from vertebra.zoo.registry import load_families

pytestmark = pytest.mark.filterwarnings("ignore::vertebra.core.Notice")


def _kinds() -> dict[tuple[str, int], str]:
    """The first network of each family and size; LeNet, which takes one size only, is no case."""
    kinds: dict[tuple[str, int], str] = {}
    for family in load_families().values():
        for name, row in family.variants.items():
            if family.name != "lenet":
                kinds.setdefault((family.name, row.smallest), name)
    return kinds


# Name, options, least size for the stages, least size for the head.
HEADS = {"alexnet": 63, "vgg": 32}
CASES: list[tuple[str, dict[str, Any], int, int]] = [
    *((name, {}, least, HEADS.get(family, least)) for (family, least), name in _kinds().items()),
    ("alexnet", {"unpadded": True}, 35, 67),
    ("vgg16_gap", {}, 16, 32),
]
LIMITED = [case for case in CASES if case[3] > 1]


def _build(name: str, options: dict[str, Any]) -> Backbone:
    with torch.device("meta"):
        return create(name, **options).eval()


def _images(net: Backbone, height: int, width: int) -> torch.Tensor:
    return torch.empty(2, net.input_size[0], height, width, device="meta")


@pytest.mark.parametrize(("name", "options", "stages", "head"), CASES)
def test_the_smallest_image_leaves_a_pixel_in_every_map(
    name: str, options: dict[str, Any], stages: int, head: int
) -> None:
    net = _build(name, options)
    # Twice as long along the other axis: vision transformers take whole patches only.
    for height, width in ((1, 2), (2, 1)):
        maps = net.features(_images(net, height * stages, width * stages))
        assert all(map_.numel() for map_ in maps)
        assert net(_images(net, height * head, width * head)).shape == (2, net.num_classes)


@pytest.mark.parametrize(("name", "options", "stages", "head"), LIMITED)
def test_a_smaller_image_is_refused_for_a_reason(
    name: str, options: dict[str, Any], stages: int, head: int
) -> None:
    net = _build(name, options)
    for least, methods in (
        (head, (net, net.forward_train, net.embed)),
        (stages, (net.features,)),
    ):
        smaller = _images(net, 2 * least, least - 1)
        for method in methods:
            with pytest.raises(VertebraError, match=f"{name} takes .*{least}x{least} pixels or mo"):
                method(smaller)
    with pytest.raises(VertebraError, match=rf"{name} takes .*{head}x{head}|patch"):
        create(name, input_size=(3, 2 * head, head - 1), **options)


@pytest.mark.parametrize(("name", "options", "stages", "head"), LIMITED)
def test_a_smaller_image_would_fail(
    name: str, options: dict[str, Any], stages: int, head: int
) -> None:
    """So what is refused is not refused in vain."""
    net = _build(name, options)
    net.smallest = net.head.smallest = 1
    with pytest.raises((RuntimeError, VertebraError)):
        net(_images(net, 2 * head, head - 1))
    with pytest.raises((RuntimeError, VertebraError)):
        net.features(_images(net, 2 * stages, stages - 1))


@pytest.mark.parametrize(
    ("name", "size", "wanted"),
    [("vgg11", 8, [0, 1, 2]), ("densenet121", 16, [0, 1]), ("convnext_atto", 16, [0, -2])],
)
def test_the_first_stages_are_content_with_less(name: str, size: int, wanted: list[int]) -> None:
    net = _build(name, {})
    assert all(map_.numel() for map_ in net.features(_images(net, size, size), wanted))


@pytest.mark.parametrize(("name", "size"), [("vgg11", 16), ("alexnet", 32)])
def test_a_head_that_takes_every_map_needs_no_large_images(name: str, size: int) -> None:
    net = _build(name, {})
    net.reset_head(10, pool="avg")
    assert net(_images(net, size, size)).shape == (2, 10)


@pytest.mark.parametrize("size", [28, 40])
def test_lenet_takes_one_size(size: int) -> None:
    net = _build("lenet5", {})
    with pytest.raises(VertebraError, match="32x32 images only"):
        net(_images(net, size, size))
    with pytest.raises(VertebraError, match="32x32 images only"):
        create("lenet5", input_size=(1, size, size))


def test_images_with_channels_last_are_told_their_layout() -> None:
    net = _build("nin", {})
    with pytest.raises(VertebraError, match=r"got 32x3 in \(N, C, H, W\) = \(2, 32, 32, 3\)"):
        net(torch.empty(2, 32, 32, 3, device="meta"))


@pytest.mark.parametrize("name", ["vgg11", "nin", "densenet121", "convnext_atto"])
def test_the_check_survives_symbolic_tracing(name: str) -> None:
    traced = torch.fx.symbolic_trace(_build(name, {}))
    with pytest.raises(VertebraError, match="pixels or more"):
        traced(torch.empty(2, 3, 32, 2, device="meta"))


@pytest.mark.parametrize("name", ["nin", "lenet5", "resnet20", "vit_ti_16", "swin_t"])
def test_one_image_is_no_batch(name: str) -> None:
    net = _build(name, {})
    with pytest.raises(VertebraError, match=r"takes images \(N, C, H, W\), got the shape"):
        net(torch.empty(net.input_size, device="meta"))
    with pytest.raises(VertebraError, match=r"takes images \(N, C, H, W\), got the shape"):
        net.features(torch.empty(net.input_size, device="meta"), [0])
