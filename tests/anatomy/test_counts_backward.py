"""Products of the backward pass, against PyTorch's counter over a real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from counting import Run, by_torch, numbers
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vertebra.anatomy import dissect
from vertebra.zoo import create

Shape = tuple[int, ...]


def _both(net: nn.Module, *shapes: Shape) -> int:
    body = dissect(net, inputs=shapes)
    assert body.partial == ()
    return body.macs + body.backward_macs


class Apart(nn.Module):
    """A grouped convolution as one convolution a group."""

    def __init__(self, grouped: nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.grouped = grouped

    def forward(self, x: Tensor) -> Tensor:
        conv = self.grouped
        how = {"stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation}
        if isinstance(conv, nn.ConvTranspose2d):
            how["output_padding"] = conv.output_padding
            run = F.conv_transpose2d
        else:
            run = F.conv1d if isinstance(conv, nn.Conv1d) else F.conv2d
        pairs = zip(x.chunk(conv.groups, 1), conv.weight.chunk(conv.groups, 0), strict=True)
        return torch.cat([run(part, weight, **how) for part, weight in pairs], 1)


def _apart(net: nn.Module) -> nn.Module:
    """The network with its grouped convolutions taken apart, in place.

    PyTorch's counter takes the gradient of a grouped weight for that of a full one: ``groups``
    times too much. By hand: each weight of a depthwise 3 x 3 meets each position once, forward as
    in its own gradient. Group by group there is nothing to mistake.
    """
    for path, module in list(net.named_modules()):
        kinds = nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d
        if isinstance(module, kinds) and module.groups > 1:
            parent, _, name = path.rpartition(".")
            setattr(net.get_submodule(parent), name, Apart(module))
    return net


# Networks. The image never requires a gradient, so that the first convolution has one product less.

NETWORKS: dict[str, Shape] = {
    "resnet20": (2, 3, 32, 32),
    "densenet121": (1, 3, 64, 64),
    "googlenet": (1, 3, 96, 96),
    "lenet5": (1, 1, 32, 32),
    "alexnet_2012": (1, 3, 224, 224),
    "mobilenet_v1_050": (1, 3, 32, 32),
    "mobilenet_v3_small": (1, 3, 32, 32),
    "convnext_atto": (1, 3, 32, 32),
    "vit_ti_16": (1, 3, 224, 224),
    "swin_t": (1, 3, 224, 224),
}


@pytest.mark.parametrize(("name", "shape"), NETWORKS.items(), ids=NETWORKS)
def test_a_network(name: str, shape: Shape) -> None:
    """Auxiliary heads run in training only and count nowhere; attention runs unfused."""
    net = create(name, seed=0)
    ours = _both(net, shape)
    assert ours == by_torch(_apart(net), shape)


FROZEN: dict[str, Callable[[int, int], bool]] = {
    "first half": lambda index, count: index < count // 2,
    "second half": lambda index, count: index >= count // 2,
    "every third": lambda index, _: index % 3 == 0,
    "all but every third": lambda index, _: index % 3 > 0,
    "all but the last bias": lambda index, count: index < count - 1,
    "all but the first weight": lambda index, _: index > 0,
}


@pytest.mark.parametrize("frozen", FROZEN.values(), ids=FROZEN)
@pytest.mark.parametrize("name", ["resnet20", "vit_ti_16"])
def test_parts_frozen(name: str, frozen: Callable[[int, int], bool]) -> None:
    """A frozen weight has no product of its own; below the first that learns there is none."""
    net = create(name, seed=0)
    parameters = list(net.parameters())
    for index, parameter in enumerate(parameters):
        parameter.requires_grad_(not frozen(index, len(parameters)))
    shape = (1, *net.input_size)
    assert _both(net, shape) == by_torch(net, shape)


def test_nothing_learns() -> None:
    net = create("resnet20", seed=0).requires_grad_(False)
    body = dissect(net)
    assert body.backward_macs == 0
    assert body.macs == by_torch(net, (1, 3, 32, 32), backward=False)


def test_the_image_has_no_gradient() -> None:
    """With one, which an attack or a style would ask for, the counter sees one product more."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3))
    first, second = 4 * 6 * 6 * (3 * 9), 5 * 4 * 4 * (4 * 9)
    assert dissect(net, (3, 8, 8)).backward_macs == first + 2 * second
    assert by_torch(net, (1, 3, 8, 8)) == 2 * first + 3 * second
    assert by_torch(net, (1, 3, 8, 8), image_learns=True) == 3 * first + 3 * second


# Layers and products.

LAYERS: dict[str, tuple[nn.Module, Shape]] = {
    "transposed": (
        nn.Sequential(
            nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
            nn.ConvTranspose2d(6, 4, 3, groups=2),
        ),
        (2, 4, 7, 7),
    ),
    "transposed, in groups, dilated": (
        nn.Sequential(
            nn.Conv2d(4, 6, 1), nn.ConvTranspose2d(6, 9, 3, stride=2, groups=3, dilation=2)
        ),
        (2, 4, 7, 7),
    ),
    "grouped": (
        nn.Sequential(
            nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)
        ),
        (2, 4, 9, 9),
    ),
    "dilated": (
        nn.Sequential(
            nn.Conv2d(4, 8, 3, dilation=2), nn.Conv2d(8, 4, 3, padding=2, dilation=2, stride=2)
        ),
        (2, 4, 11, 11),
    ),
    "sequence": (nn.Sequential(nn.Conv1d(4, 6, 3), nn.Conv1d(6, 6, 3, groups=3)), (2, 4, 9)),
    "volume": (nn.Sequential(nn.Conv3d(2, 4, 3), nn.Conv3d(4, 4, (1, 2, 3))), (1, 2, 7, 7, 7)),
    "linear": (nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3, bias=False)), (2, 4, 5)),
    "linear of a vector": (nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3)), (5,)),
    "einsum": (
        Run(
            lambda s, x: torch.einsum("bcn,cd,de->bne", x, s.w, s.v),
            w=numbers(4, 5),
            v=numbers(5, 6),
        ),
        (2, 4, 7),
    ),
    "bmm": (
        Run(
            lambda s, x: torch.bmm(s.w, torch.bmm(x, s.v)),
            w=numbers(2, 3, 4),
            v=numbers(2, 7, 5),
        ),
        (2, 4, 7),
    ),
    "addmm": (
        Run(
            lambda s, x: torch.addmm(s.b, x, s.w) @ s.v,
            w=numbers(7, 5),
            b=numbers(5),
            v=numbers(5, 3),
        ),
        (4, 7),
    ),
    "baddbmm": (
        Run(
            lambda s, x: torch.baddbmm(s.b, x, s.w) @ s.w.mT,
            w=numbers(2, 7, 5),
            b=numbers(2, 4, 5),
        ),
        (2, 4, 7),
    ),
    "with itself": (
        Run(lambda s, x: (x @ s.w) @ (x @ s.w).mT, w=numbers(7, 5)),
        (2, 4, 7),
    ),
    "weight made of weights": (
        Run(lambda s, x: x @ (s.w @ s.v), w=numbers(7, 5), v=numbers(5, 3)),
        (2, 4, 7),
    ),
    "frozen weight below": (
        Run(
            lambda s, x: (x @ s.w) * s.g,
            w=numbers(7, 5).requires_grad_(False),
            g=numbers(5),
        ),
        (2, 4, 7),
    ),
    "attention module": (
        Run(
            lambda s, x: s.inner(x, x, x, need_weights=False)[0],
            inner=nn.MultiheadAttention(8, 2, batch_first=True),
        ),
        (2, 5, 8),
    ),
    "encoder layer": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
}


@pytest.mark.parametrize(("net", "shape"), LAYERS.values(), ids=LAYERS)
def test_a_layer(net: nn.Module, shape: Shape) -> None:
    ours = _both(net, shape)
    assert ours == by_torch(_apart(net), shape)


def test_products_that_pytorchs_counter_does_not_know() -> None:
    """It takes matrix times vector, and a sum of products, for nothing; so by hand."""
    vector = Run(lambda s, x: s.w @ (x @ s.v), w=numbers(3, 4), v=numbers(7))
    # x meets v in 4 x 7; w meets the 4 that come of it in 3 x 4. Back: v, and w, and its operand.
    body = dissect(vector, inputs=((4, 7),))
    assert (body.macs, body.backward_macs) == (4 * 7 + 3 * 4, 4 * 7 + 2 * 3 * 4)
    summed = Run(lambda s, x: torch.addbmm(s.b, x, s.w), w=numbers(2, 7, 5), b=numbers(4, 5))
    body = dissect(summed, inputs=((2, 4, 7),))
    assert (body.macs, body.backward_macs) == (2 * 4 * 7 * 5, 2 * 4 * 7 * 5)
    inner = Run(lambda s, x: torch.dot(s.v, x @ s.w), w=numbers(7, 5), v=numbers(5))
    body = dissect(inner, inputs=((7,),))
    assert (body.macs, body.backward_macs) == (7 * 5 + 5, 7 * 5 + 2 * 5)


# Where no gradient comes back.


def _linear(*widths: int) -> dict[str, nn.Module]:
    names = ("first", "second")
    pairs = zip(names, zip(widths[::2], widths[1::2], strict=True), strict=True)
    return {name: nn.Linear(*pair) for name, pair in pairs}


def _shifted(net: Run, x: Tensor) -> Tensor:
    made = net.first(x)
    shifted = torch.zeros_like(made)
    shifted[:, 1:] = made[:, :-1]
    return net.second(shifted)


def _rounded(net: Run, x: Tensor) -> Tensor:
    made = net.first(x)
    return net.second(made + (made.round() - made).detach())


PATHS: dict[str, nn.Module] = {
    "used by nobody": Run(lambda s, x: (s.first(x), s.second(x))[0], **_linear(7, 9, 7, 9)),
    "as an index": Run(
        lambda s, x: F.embedding(s.first(x).argmax(-1), s.table) + s.second(x),
        table=numbers(9, 5),
        **_linear(7, 9, 7, 5),
    ),
    "as a condition": Run(
        lambda s, x: torch.where(s.first(x) > 0, s.second(x), 0.0), **_linear(7, 9, 7, 9)
    ),
    "detached": Run(lambda s, x: s.second(s.first(x).detach()), **_linear(7, 9, 9, 5)),
    "for its shape": Run(
        lambda s, x: s.second(torch.zeros_like(s.first(x))), **_linear(7, 9, 9, 5)
    ),
    # And where one does, although it looks as if not.
    "straight through": Run(_rounded, **_linear(7, 9, 9, 5)),
    "written through a view": Run(_shifted, **_linear(7, 9, 9, 5)),
    "in place": Run(lambda s, x: s.second(s.first(x).mul_(2).relu_()), **_linear(7, 9, 9, 5)),
    "its maximum": Run(lambda s, x: s.second(s.first(x)).max(-1).values, **_linear(7, 9, 9, 5)),
}


@pytest.mark.parametrize("net", PATHS.values(), ids=PATHS)
def test_a_gradient_goes_where_it_really_goes(net: nn.Module) -> None:
    shape = (2, 4, 7)
    assert _both(net, shape) == by_torch(net, shape)


def test_two_outputs_and_two_inputs() -> None:
    net = Run(lambda s, x, y: (s.first(x), s.second(y) @ s.first(x).mT), **_linear(7, 9, 7, 9))
    shapes: Sequence[Shape] = ((2, 4, 7), (2, 3, 7))
    assert _both(net, *shapes) == by_torch(net, *shapes)


class HalfFrozen(nn.Module):
    """A trunk that runs without gradients, as when only a head is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(12, 20)
        self.head = nn.Linear(20, 6)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.trunk(x)
        return self.head(x)


def test_no_gradient_passes_what_runs_without() -> None:
    body = dissect(HalfFrozen(), inputs=[(3, 12)])
    assert body.macs == 3 * (12 * 20 + 20 * 6)
    assert body.backward_macs == 3 * 20 * 6  # the head's weight, and nothing before it


class SwishOfOnesOwn(torch.autograd.Function):
    """As implementations that save memory have it: autograd does not see inside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(x)
        return gradient * (gate + x * gate * (1 - gate))


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(SwishOfOnesOwn.apply(self.first(x)))


def test_gradients_pass_a_function_of_ones_own() -> None:
    body = dissect(Custom(), (3, 10, 10))
    first, second = 64 * 8 * 27, 36 * 4 * 72
    assert body.macs == first + second
    assert body.backward_macs == first + 2 * second


class Again(nn.Module):
    def __init__(self, *block: nn.Module) -> None:
        super().__init__()
        self.first, self.block = nn.Conv2d(3, 8, 1), nn.Sequential(*block)

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.block, self.first(x), use_reentrant=True)


def test_what_a_reentrant_checkpoint_hides_is_not_known() -> None:
    """Of two layers in it, the graph shows none between which a gradient passes; one is plain."""
    body = dissect(Again(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1)), (3, 4, 4))
    assert body.macs == 16 * (24 + 2 * 64)
    assert body.backward_macs is None
    assert body.to_dict()["backward_macs"] is None
    assert dissect(Again(nn.Conv2d(8, 8, 1)), (3, 4, 4)).backward_macs == 16 * (24 + 2 * 64)


def test_what_is_partial_has_no_backward() -> None:
    body = dissect(Run(lambda _, x: torch.cdist(x, x)), inputs=[(5, 7)])
    assert body.partial
    assert body.backward_macs is None


def test_a_complex_product_is_not_one_real_one() -> None:
    body = dissect(
        Run(lambda _, x: torch.complex(x, x) @ torch.complex(x.mT, x.mT)), inputs=[(5, 7)]
    )
    assert body.partial == ("aten.mm",)
