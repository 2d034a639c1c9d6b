"""Receptive fields of whole networks: published ones, and what a gradient really reaches."""

import pytest
import torch
import torchvision
from probe import assert_rule, bounds, linearised, reached
from torch import Tensor, nn

from vertebra.anatomy import Anatomy, ReceptiveField, dissect
from vertebra.nn import Backbone
from vertebra.zoo import create


def body_of(name: str, size: tuple[int, int, int] | None = None) -> Anatomy:
    with torch.device("meta"):
        return dissect(create(name, seed=0, input_size=size))


def field_of(name: str) -> ReceptiveField:
    field = body_of(name).receptive_field
    assert field is not None
    return field


@pytest.mark.parametrize(
    ("name", "size", "stride"),
    [
        ("alexnet", 195, 32),
        ("vgg16", 212, 32),
        ("mobilenet_v1", 315, 32),
        ("inception_v3", 1311, 32),
        ("resnet50", 427, 32),
        ("resnet18", 435, 32),
        ("resnet50_v1", 483, 32),
        ("resnet101_v2", 971, 32),
    ],
)
def test_published_fields(name: str, size: int, stride: int) -> None:
    """Araujo, Norris and Sim, Distill, 2019, table of networks.

    They have 427 for ResNet-50 with the stride on the 3x3 (v1.5) and 483 with it on the first 1x1.
    """
    field = field_of(name)
    assert (field.size, field.stride) == ((size, size), (stride, stride))
    assert field.is_uniform
    assert str(field) == str(size)


@pytest.mark.parametrize(("name", "before"), [("alexnet", 163), ("vgg16", 196)])
def test_fields_before_the_last_pooling(name: str, before: int) -> None:
    """As often quoted: of the last convolution's output."""
    body = body_of(name)
    last = [layer for layer in body.layers if layer.kind == "Conv2d"][-1]
    assert last.receptive_field is not None
    assert last.receptive_field.size == (before, before)


@pytest.mark.parametrize(("name", "size"), [("alexnet", 195), ("vgg16", 212), ("googlenet", 379)])
def test_networks_of_torchvision(name: str, size: int) -> None:
    with torch.device("meta"):
        net = torchvision.models.get_model(name)
    field = dissect(net, (3, 224, 224)).receptive_field
    assert field is not None
    assert field.size == (size, size)


# One of each family whose fields are those of windows; with what the image must hold at least.
FAMILIES = {
    "alexnet": 320,
    "nin_imagenet": 320,
    "vgg13": 320,
    "googlenet": 704,
    "inception_v3": 1500,
    "resnet18": 704,
    "resnet50": 704,
    "resnext50_32x4d": 704,
    "resnet50_v2": 704,
    "resnet20": 192,
    "plain20": 192,
    "densenet121": 2240,
    "mobilenet_v1": 512,
    "mobilenet_v2": 704,
    "efficientnet_lite0": 1088,
    "convnext_atto": 1344,
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("axis", [0, 1])
def test_the_gradient_reaches_the_field(name: str, axis: int) -> None:
    """Along one axis of an image that is longer than the field, and as narrow as the net allows.

    Long in both, Inception's image would need 20 GB.
    """
    narrow = 96 if name == "inception_v3" else 64
    sides = (FAMILIES[name], narrow) if axis == 0 else (narrow, FAMILIES[name])
    net = create(name, seed=0)
    stages = {stage.name: stage for stage in dissect(net, (3, *sides)).stages}
    field = stages[net.stage_info[-1].name].receptive_field
    assert field is not None
    linearised(net)
    at = tuple(_middle(sides[a], field, a) if a == axis else 0 for a in (0, 1))
    first = field.start[axis] + at[axis] * field.stride[axis]
    assert first > 0, "the field would be cut"
    assert first + field.size[axis] < sides[axis], "the field would be cut"
    found = bounds(reached(lambda x: _last_map(net, x), (3, *sides), (at[0], at[1])))
    box = field.box(at[0], at[1])
    assert found == box
    assert found is not None
    assert found[axis] == (first, first + field.size[axis] - 1)


def _middle(side: int, field: ReceptiveField, axis: int) -> int:
    """The position whose field lies in the middle."""
    return round((side / 2 - field.start[axis] - field.size[axis] / 2) / field.stride[axis])


def _last_map(net: Backbone, x: Tensor) -> Tensor:
    return net.features(x)[-1]


def test_the_field_of_a_large_image_by_its_rule() -> None:
    net = create("resnet20", seed=0)
    field = dissect(net, (3, 192, 192)).receptive_field
    assert field is not None
    linearised(net)
    # Off the middle by one, in one axis: a start that is wrong by a stride would show.
    found = bounds(reached(lambda x: _last_map(net, x), (3, 192, 192), (24, 23)))
    assert found is not None
    assert_rule(found, field, (24, 23))


@pytest.mark.parametrize("name", ["swin_t", "swin_s"])
@pytest.mark.parametrize("at", [(0, 0), (5, 4), (25, 27), (27, 3), (13, 14)])
def test_windows_of_swin(name: str, at: tuple[int, int]) -> None:
    """Stage by stage, at corners, edges and window borders: exactly the pixels with a gradient."""
    net = create(name, seed=0).double().eval().requires_grad_(False)
    body = dissect(net)
    for stage in (0, 1):
        field = body.stages[1 + stage].receptive_field
        assert field is not None
        assert not field.is_uniform
        x = torch.rand((1, 3, 224, 224), dtype=torch.float64, requires_grad=True)
        maps = net.features(x, [stage])[0]
        (gradient,) = torch.autograd.grad(maps[0, :, at[0], at[1]].square().sum(), x)
        assert bounds((gradient[0] != 0).any(dim=0)) == field.box(*at)
    assert str(body.stages[1].receptive_field) == "up to 56"
    assert str(body.stages[2].receptive_field) == "up to 168"
    assert [str(s.receptive_field) for s in body.stages[3:]] == ["global"] * 3


def test_swin_of_torchvision_has_the_same_windows() -> None:
    """It adds -100 where ours adds minus infinity, and makes its mask in the forward."""
    with torch.device("meta"):
        net = torchvision.models.swin_t()
    fields = [str(stage.receptive_field) for stage in dissect(net, (3, 224, 224)).at_depth(2)]
    assert fields[:4] == ["4", "up to 56", "up to 84", "up to 168"]


class Rolled(nn.Module):
    """Attention in windows of a rolled row of pixels, with a mask or without."""

    def __init__(self, masked: bool) -> None:
        super().__init__()
        mask = torch.zeros(2, 1, 4, 4)
        mask[1, :, :2, 2:] = mask[1, :, 2:, :2] = -torch.inf
        self.register_buffer("mask", mask if masked else None)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        tokens = x.roll(-2, 3).permute(0, 2, 3, 1).reshape(n * h * w // 4, 1, 4, c)
        bias = None if self.mask is None else self.mask.repeat(h, 1, 1, 1).double()
        mixed = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens, bias)
        return mixed.reshape(n, h, w, c).permute(0, 3, 1, 2).roll(2, 3)


@pytest.mark.parametrize("masked", [True, False])
def test_only_a_mask_parts_what_a_roll_brought_together(masked: bool) -> None:
    net = Rolled(masked)
    x = torch.rand((1, 2, 3, 8), dtype=torch.float64, requires_grad=True)
    out = net(x)
    field = dissect(net, inputs=[x]).receptive_field
    assert field is not None
    for column in range(8):
        (gradient,) = torch.autograd.grad(out[0, :, 1, column].square().sum(), x, retain_graph=True)
        assert bounds((gradient[0] != 0).any(dim=0)) == field.box(1, column)


@pytest.mark.parametrize(
    "name", ["seresnet50", "mobilenet_v3_small", "efficientnet_b0", "vit_ti_16", "mobilevit_xxs"]
)
def test_global_networks_see_every_pixel(name: str) -> None:
    net = create(name, seed=0)
    field = dissect(net).receptive_field
    assert field is not None
    assert field.is_global
    net = net.double().eval().requires_grad_(False)
    x = torch.rand((1, *net.input_size), dtype=torch.float64, requires_grad=True)
    maps = net.features(x)[-1]
    (gradient,) = torch.autograd.grad(maps[0, :, 0, 0].sum(), x)
    assert bounds((gradient[0] != 0).any(dim=0)) == field.box(0, 0)


def test_where_the_field_becomes_global() -> None:
    """At the first squeeze-and-excite, global pooling or attention over all tokens, not before."""
    fields = {stage.name: stage.receptive_field for stage in body_of("mobilenet_v3_large").stages}
    assert str(fields["stage2"]) == "19"
    assert str(fields["stage3"]) == "global"
    vit = body_of("vit_b_16")
    assert str(vit.stages[0].receptive_field) == "16"
    assert str(vit.stages[1].receptive_field) == "global"
    pooled = next(x for x in body_of("resnet18").layers if x.kind == "AdaptiveAvgPool2d")
    assert str(pooled.receptive_field) == "global"


class Branching(nn.Module):
    """A shortcut that skips the pixel its main path looks at, as ResNet-D's pooling does."""

    def __init__(self, shortcut: nn.Module) -> None:
        super().__init__()
        self.main = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.shortcut(x)


def test_branches_that_look_elsewhere_are_reported() -> None:
    straight = dissect(Branching(nn.Conv2d(3, 4, 1, stride=2)), (3, 32, 32))
    assert straight.misaligned == ()
    # Its window of two begins at the pixel that the 3x3 has in its middle.
    pooled = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 1))
    body = dissect(Branching(pooled), (3, 32, 32))
    assert body.misaligned == ("add",)
    assert body.to_dict()["misaligned"] == ["add"]
    # The union all the same: -1 to 1 and 0 to 1.
    assert body.receptive_field is not None
    assert (body.receptive_field.size, body.receptive_field.start) == ((3, 3), (-1, -1))


def test_networks_of_the_zoo_are_aligned() -> None:
    for name in ("resnet50", "resnet50_v2", "densenet121", "mobilenet_v2", "convnext_tiny"):
        assert body_of(name).misaligned == ()
    assert body_of("googlenet").misaligned == ()
