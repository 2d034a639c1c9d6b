"""Receptive fields: published ones, and what a gradient really reaches."""

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from probe import assert_box, linearised, reached
from torch import Tensor, nn

from vertebra.anatomy import ReceptiveField, dissect
from vertebra.zoo import create


@pytest.mark.parametrize(("name", "size"), [("resnet50", 427), ("resnet18", 435)])
def test_published_fields(name: str, size: int) -> None:
    """Araujo, Norris and Sim (Distill, 2019) have 427 for torchvision's v1.5 and 435."""
    with torch.device("meta"):
        field = dissect(create(name, seed=0)).receptive_field
    assert field is not None
    assert field.size == (size, size)
    assert field.stride == (32, 32)
    assert str(field) == str(size)


@pytest.mark.parametrize(("name", "size"), [("resnet20", 192), ("plain20", 192), ("resnet18", 544)])
def test_the_gradient_reaches_the_field(name: str, size: int) -> None:
    net = create(name, seed=0)
    field = dissect(net, (3, size, size)).receptive_field
    assert field is not None
    linearised(net)
    # Off the middle by one, in one axis: a start that is wrong by a stride would show.
    middle = size // field.stride[0] // 2
    at = (middle, middle - 1)
    for axis in (0, 1):
        left = field.start[axis] + at[axis] * field.stride[axis]
        assert left > 0, "the field would be cut"
        assert left + field.size[axis] < size, "the field would be cut"
    mask = reached(lambda x: net.features(x)[-1], (3, size, size), at)
    assert_box(mask, field, at)


@pytest.mark.parametrize("at", [(0, 0), (3, 5), (9, 9)])
def test_the_field_of_c3(at: tuple[int, int]) -> None:
    """LeNet's input is fixed, and its convolutions unpadded: every field lies within the image."""
    net = create("lenet5_dense", seed=0)
    stages = {stage.name: stage for stage in dissect(net).stages}
    field = stages["C3"].receptive_field
    assert field is not None
    linearised(net)
    assert_box(reached(lambda x: net.features(x, [1])[0], (1, 32, 32), at), field, at)


@pytest.mark.parametrize(("name", "size"), [("alexnet", 195), ("vgg16", 212)])
def test_published_fields_of_other_libraries_networks(name: str, size: int) -> None:
    """Araujo et al., 2019, "Computing Receptive Fields", distill.pub, table of networks."""
    with torch.device("meta"):
        net = getattr(torchvision.models, name)()
    field = dissect(net, (3, 224, 224)).receptive_field
    assert field is not None
    assert field.size == (size, size)


def test_without_a_head_the_output_is_the_last_map() -> None:
    field = dissect(nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU()), (3, 9, 9)).receptive_field
    assert field is not None
    assert (field.size, field.stride) == ((3, 3), (2, 2))
    assert dissect(nn.Linear(4, 2), (5, 4)).receptive_field is None


def test_lenet_sees_its_whole_image() -> None:
    field = dissect(create("lenet5", seed=0)).receptive_field
    assert field == ReceptiveField((32, 32), (4, 4), (0, 0))


def test_global_pooling_sees_everything() -> None:
    body = dissect(create("resnet20", seed=0))
    head = next(layer for layer in body.layers if layer.kind == "AdaptiveAvgPool2d")
    assert head.receptive_field is not None
    assert head.receptive_field.is_global
    assert str(head.receptive_field) == "global"


windows = st.tuples(
    st.sampled_from(["conv", "pool"]),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(0, 1), st.integers(0, 2)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
)


def _window(
    kind: str,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> nn.Module:
    if kind == "pool":
        inside = (min(padding[0], kernel[0] // 2), min(padding[1], kernel[1] // 2))
        return nn.AvgPool2d(kernel, stride, inside)
    return nn.Conv2d(1, 1, kernel, stride, padding, dilation, bias=False)


def _interior(size: int, extent: int, field: ReceptiveField, axis: int) -> int:
    """A position whose whole field lies inside the image, near the middle."""
    stride, start = field.stride[axis], field.start[axis]
    inside = [
        p
        for p in range(extent)
        if start + p * stride >= 0 and start + p * stride + field.size[axis] <= size
    ]
    assert inside, "the image is too small for this test"
    return inside[len(inside) // 2]


@settings(max_examples=60)
@given(st.lists(windows, min_size=1, max_size=4))
def test_any_chain_of_windows(rows: list[tuple]) -> None:
    net = nn.Sequential(*(_window(*row) for row in rows))
    size = 160
    field = dissect(net, (1, size, size)).layers[-1].receptive_field
    assert field is not None
    linearised(net)
    extents = net(torch.zeros(1, 1, size, size, dtype=torch.float64)).shape[2:]
    at = tuple(_interior(size, extents[axis], field, axis) for axis in (0, 1))
    mask = reached(net, (1, size, size), at)
    assert_box(mask, field, at)


class Branches(nn.Module):
    """Branches of unequal fields, joined along channels."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv2d(1, 1, 1, bias=False)
        self.wide = nn.Conv2d(1, 1, (1, 7), padding=(0, 3), bias=False)
        self.far = nn.Conv2d(1, 1, 3, padding=4, dilation=4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.near(x), self.wide(x), self.far(x)], dim=1)
        return joined[:, :, 1:, ::2] * 1.0


def test_branches_unite_and_slices_shift() -> None:
    net = Branches()
    field = dissect(net, (1, 32, 32)).layers[-1].receptive_field
    assert field is not None
    linearised(net)
    assert_box(reached(net, (1, 32, 32), (10, 8)), field, (10, 8))


class SideBySide(nn.Module):
    """Two maps joined in space: what a position sees depends on which half it lies in."""

    def __init__(self, axis: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, kernel, padding=(kernel[0] // 2, kernel[1] // 2), bias=False)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(x)], dim=self.axis)


@pytest.mark.parametrize(("axis", "kernel"), [(2, (3, 1)), (-1, (1, 3))])
@pytest.mark.parametrize("place", [0, 5, 15, 16, 20, 31])
def test_maps_side_by_side(axis: int, kernel: tuple[int, int], place: int) -> None:
    net = SideBySide(axis, kernel)
    field = dissect(net, (1, 16, 16)).layers[-1].receptive_field
    assert field is not None
    assert not field.is_uniform
    assert str(field) == f"up to {kernel[0]}x{kernel[1]}"
    linearised(net)
    at = (place, 5) if axis == 2 else (5, place)
    assert_box(reached(net, (1, 16, 16), at), field, at)


def test_no_field_is_better_than_a_wrong_one() -> None:
    """In the upper half a position sees one column, in the lower three: no two intervals say so."""
    assert dissect(SideBySide(2, (3, 3)), (1, 16, 16)).layers[-1].receptive_field is None


class Corner(nn.Module):
    """Adds its first pixel everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x[:, :, :1, :1]


def test_a_stretched_map_goes_to_every_position() -> None:
    field = dissect(Corner(), (1, 16, 16)).layers[-1].receptive_field
    assert field is not None
    for at in ((5, 6), (0, 0), (15, 2)):
        assert_box(reached(Corner(), (1, 16, 16), at), field, at)
