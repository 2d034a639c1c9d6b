"""Models that take something other than an image, and attention in every way PyTorch offers it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from counting import Run, WithoutGradients, by_torch, numbers
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import dissect
from vertebra.core import VertebraError
from vertebra.zoo import create

Shape = tuple[int, ...]


# Inputs.


class Two(nn.Module):
    """Image and text: tokens of width 8, compared with one vector for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 8, 4, stride=4)
        self.words = nn.Embedding(50, 8)
        self.read = nn.Linear(8, 8)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        seen = self.look(image).mean((2, 3))
        return (self.read(self.words(text)) @ seen[:, :, None]).squeeze(-1)


@pytest.mark.parametrize("batch", [1, 3])
def test_two_tensors_one_of_them_tokens(batch: int) -> None:
    """A patch of 4 x 4 x 3 for each of 2 x 2; 7 tokens through 8 x 8, then a product of 8 each."""
    given = (torch.zeros(batch, 3, 8, 8), torch.zeros(batch, 7, dtype=torch.int64))
    body = dissect(Two(), inputs=given)
    assert body.macs == batch * (8 * 2 * 2 * (3 * 16) + 7 * 8 * 8 + 7 * 8)
    assert body.partial == ()
    assert body.input_shape == (batch, 3, 8, 8)
    assert body.params == 8 * 3 * 16 + 8 + 50 * 8 + 8 * 8 + 8
    entered = [body.graph.values[value] for value in body.graph.inputs]
    assert [value.dtype for value in entered] == ["float32", "int64"]


def test_shapes_do_as_well_as_tensors() -> None:
    net = Run(lambda s, x, y: x @ y.mT)
    shapes = ((2, 5, 4), (2, 6, 4))
    by_tensors = dissect(net, inputs=[torch.zeros(shape) for shape in shapes])
    for given in (shapes, [list(shape) for shape in shapes], [torch.Size(s) for s in shapes]):
        assert dissect(net, inputs=given).to_dict() == by_tensors.to_dict()
    assert by_tensors.macs == 2 * 5 * 6 * 4
    assert dissect(net, inputs=(shapes[0], torch.zeros(shapes[1]))).macs == by_tensors.macs


def test_an_image_may_be_given_either_way() -> None:
    net = create("resnet20", seed=0)
    assert dissect(net, inputs=((2, 3, 32, 32),)).to_dict() == dissect(net, batch=2).to_dict()
    assert dissect(net, inputs=((2, 3, 48, 48),)).macs == dissect(net, (3, 48, 48), batch=2).macs


def test_only_shape_and_type_of_a_tensor_are_read() -> None:
    """Its device, its numbers and whether it learns say nothing."""
    net = Run(lambda s, x: x @ x.mT)
    plain = dissect(net, inputs=((3, 4),))
    unread = torch.full((3, 4), float("nan"), requires_grad=True)
    for given in (unread, torch.empty(3, 4, device="meta"), torch.zeros(4, 3).T):
        assert dissect(net, inputs=(given,)).to_dict() == plain.to_dict()
    halved = dissect(net, inputs=(torch.zeros(3, 4, dtype=torch.float16),))
    assert halved.macs == plain.macs
    assert halved.fingerprint != plain.fingerprint


def test_a_forward_without_arguments() -> None:
    net = Run(lambda s: s.w @ s.w.mT, w=numbers(3, 4))
    body = dissect(net, inputs=())
    assert (body.macs, body.input_shape) == (3 * 3 * 4, ())


def _refused(**given: Any) -> str:
    with pytest.raises(VertebraError) as caught:
        dissect(nn.Conv2d(3, 4, 3), **given)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("also", [{"input_size": (3, 8, 8)}, {"batch": 2}])
def test_inputs_and_a_size_are_refused_together(also: dict[str, Any]) -> None:
    assert "either inputs" in _refused(inputs=((1, 3, 8, 8),), **also)


@pytest.mark.parametrize("entry", [None, 5, "image", 2.5, [1, "b"], object])
def test_an_entry_that_is_no_shape_is_refused(entry: Any) -> None:
    assert "a tensor or a shape like (1, 3, 224, 224)" in _refused(inputs=(entry,))


def test_a_shape_that_is_not_wrapped_is_refused() -> None:
    """Likely meant as the one input, and it would be four of them."""
    assert "got 1" in _refused(inputs=(1, 3, 8, 8))


@pytest.mark.parametrize(
    "shapes",
    [((1, -3, 8, 8),), ((1, 3, 8, 8), (1, 3, 8, 8)), (), ((1, 5, 8, 8),), ((1, 3, 1, 1),), ((),)],
)
def test_inputs_that_do_not_fit_are_refused(shapes: tuple[Shape, ...]) -> None:
    assert "Conv2d cannot run on" in _refused(inputs=shapes)


# Scaled dot-product attention.

FOUR = ((2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 8))
SAME = ((2, 3, 5, 8),) * 3
SHARED_KEYS = ((2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8))
VARIANTS: dict[str, tuple[tuple[Shape, Shape, Shape], dict[str, Any], str | None]] = {
    "self": (SAME, {}, None),
    "cross": (FOUR, {}, None),
    "scale": (FOUR, {"scale": 0.5}, None),
    "causal": (SAME, {"is_causal": True}, None),
    "mask of booleans": (FOUR, {}, "bool"),
    "mask of numbers": (FOUR, {}, "float"),
    "mask that learns": (FOUR, {}, "learns"),
    "dropout": (FOUR, {"dropout_p": 0.1}, None),
    "shared keys": (SHARED_KEYS, {"enable_gqa": True}, None),
    "shared keys, masked": (SHARED_KEYS, {"enable_gqa": True}, "float"),
    "wider values": ((*FOUR[:2], (2, 3, 7, 12)), {}, None),
    "narrower values, masked": ((*FOUR[:2], (2, 3, 7, 6)), {}, "bool"),
    "three axes": (((3, 5, 8), (3, 7, 8), (3, 7, 8)), {}, None),
    "three axes, masked": (((3, 5, 8), (3, 7, 8), (3, 7, 8)), {}, "bool"),
    "three axes, other values": (((3, 5, 8), (3, 7, 8), (3, 7, 6)), {}, None),
    "two axes": (((5, 8), (7, 8), (7, 8)), {}, None),
    "five axes": (((2, 1, 3, 5, 8), (2, 1, 3, 7, 8), (2, 1, 3, 7, 8)), {}, None),
    "keys stretched over the batch": (((2, 3, 5, 8), (1, 3, 7, 8), (1, 3, 7, 8)), {}, None),
    "queries stretched": (((1, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 8)), {}, None),
}
MODES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "learning": lambda net: net,
    "frozen": lambda net: net.requires_grad_(False),
    "no gradients": WithoutGradients,
}


def _attending(how: dict[str, Any], mask: str | None, shape: Shape) -> nn.Module:
    def run(net: Run, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        given = net.mask > 0 if mask == "bool" else net.mask if mask else None
        # By w, so that something of it learns.
        return F.scaled_dot_product_attention(
            query * net.w, key * net.w, value * net.w, attn_mask=given, **how
        )

    return Run(run, w=numbers(1), mask=numbers(*shape).requires_grad_(mask == "learns"))


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize(("shapes", "how", "mask"), VARIANTS.values(), ids=VARIANTS)
def test_attention_in_every_way(
    shapes: tuple[Shape, Shape, Shape],
    how: dict[str, Any],
    mask: str | None,
    mode: Callable[[nn.Module], nn.Module],
) -> None:
    """Every query meets every key; which of the pairs a mask or causality then drops is not looked
    at, as neither PyTorch's counter nor its general kernel does.
    """
    query, key, value = shapes
    net = mode(_attending(how, mask, (query[-2], key[-2])))
    body = dissect(net, inputs=shapes)
    heads = query[:-2] if "enable_gqa" in how else torch.broadcast_shapes(query[:-2], key[:-2])
    pairs = math.prod(heads) * query[-2] * key[-2]
    assert body.partial == ()
    assert body.macs == pairs * query[-1] + pairs * value[-1]
    assert body.macs == by_torch(net, *shapes, backward=False)
    made = body.graph.values[body.graph.outputs[0]].shape
    assert made == net(*(torch.zeros(shape) for shape in shapes)).shape
    assert dissect(net, inputs=shapes, convention="full").partial == ()


KERNELS: dict[str, tuple[Any, tuple[Any, ...], int]] = {
    # Only this one takes values of another width.
    "efficient": (torch.ops.aten._scaled_dot_product_efficient_attention, (None, False), 12),
    "flash": (torch.ops.aten._scaled_dot_product_flash_attention, (), 8),
    "flash of the CPU": (torch.ops.aten._scaled_dot_product_flash_attention_for_cpu, (), 8),
}


@pytest.mark.parametrize(("kernel", "more", "width"), KERNELS.values(), ids=KERNELS)
def test_a_kernel_by_its_own_name(kernel: Any, more: tuple[Any, ...], width: int) -> None:
    """Which one PyTorch would choose on another device makes no difference to the count."""
    net = Run(lambda s, q, k, v: kernel(q, k, v, *more)[0])
    shapes = (*FOUR[:2], (2, 3, 7, width))
    body = dissect(net, inputs=shapes)
    assert body.partial == ()
    assert body.macs == body.subtotals["attention"] == 2 * 3 * 5 * 7 * (8 + width)


@pytest.mark.parametrize("learns", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1)])
def test_attention_backwards_one_operand_at_a_time(learns: tuple[int, int, int]) -> None:
    """The gradient of the scores is one product, and each of the three that learns takes another.

    PyTorch's counter runs it unfused: the fused kernel computes the scores a second time.
    """
    query, key, value = (numbers(1).requires_grad_(bool(one)) for one in learns)
    net = Run(
        lambda s, q, k, v: F.scaled_dot_product_attention(q * s.query, k * s.key, v * s.value),
        query=query,
        key=key,
        value=value,
    )
    body = dissect(net, inputs=FOUR)
    assert body.subtotals["attention"] == body.macs
    products = sum(learns) + (learns[0] or learns[1])
    assert body.backward_macs == products * 2 * 3 * 5 * 7 * 8
    assert body.macs + body.backward_macs == by_torch(net, *FOUR)


# Attention as a module, which without gradients PyTorch runs as one operation.

# Two sequences of 5 tokens of width 8: each way in and out, then scores and their use.
ATTENTION = 2 * 5 * 8 * (3 * 8) + 2 * (2 * 5 * 5 * 8) + 2 * 5 * 8 * 8
HIDDEN = 2 * (2 * 5 * 8 * 16)


def _module(**options: Any) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(8, 2, **{"batch_first": True, **options})


def _masked(net: Run, x: Tensor) -> Tensor:
    return net.inner(x, x, x, attn_mask=torch.zeros(5, 5))[0]


def _encoder(**options: Any) -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options)


def _in_one(net: Run, x: Tensor) -> Tensor:
    """The call that nn.TransformerEncoderLayer makes of itself, on tensors of no subclass."""
    layer = net.layer
    attention = layer.self_attn
    both = (layer.norm1, layer.norm2)
    return torch._transformer_encoder_layer_fwd(
        x,
        8,
        2,
        attention.in_proj_weight,
        attention.in_proj_bias,
        attention.out_proj.weight,
        attention.out_proj.bias,
        False,
        False,
        1e-5,
        *(tensor for norm in both for tensor in (norm.weight, norm.bias)),
        *(
            tensor
            for linear in (layer.linear1, layer.linear2)
            for tensor in (linear.weight, linear.bias)
        ),
    )


MODULES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "attention": (lambda: Run(lambda s, x: s.inner(x, x, x)[0], inner=_module()), ATTENTION),
    "without weights": (
        lambda: Run(lambda s, x: s.inner(x, x, x, need_weights=False)[0], inner=_module()),
        ATTENTION,
    ),
    "masked": (lambda: Run(_masked, inner=_module()), ATTENTION),
    # Five sequences of 2 tokens to this one.
    "sequence first": (
        lambda: Run(lambda s, x: s.inner(x, x, x)[0], inner=_module(batch_first=False)),
        10 * 8 * (3 * 8) + 2 * (5 * 2 * 2 * 8) + 10 * 8 * 8,
    ),
    # Three keys of the five tokens: their projections shrink, and so do the scores.
    "cross": (
        lambda: Run(lambda s, x: s.inner(x, x[:, :3], x[:, :3])[0], inner=_module()),
        2 * (5 * 8 * 8 + 2 * 3 * 8 * 8 + 2 * 5 * 3 * 8 + 5 * 8 * 8),
    ),
    "keys and values of other widths": (
        lambda: Run(
            lambda s, x: s.inner(x, x[:, :3, :5], x[:, :3, :6])[0],
            inner=_module(kdim=5, vdim=6),
        ),
        2 * (5 * 8 * 8 + 3 * 5 * 8 + 3 * 6 * 8 + 2 * 5 * 3 * 8 + 5 * 8 * 8),
    ),
    "encoder layer": (_encoder, ATTENTION + HIDDEN),
    "norm first": (lambda: _encoder(norm_first=True, activation="gelu"), ATTENTION + HIDDEN),
    "encoder": (lambda: nn.TransformerEncoder(_encoder(), 2), 2 * (ATTENTION + HIDDEN)),
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize(("build", "by_hand"), MODULES.values(), ids=MODULES)
def test_attention_as_a_module(
    build: Callable[[], nn.Module], by_hand: int, mode: Callable[[nn.Module], nn.Module]
) -> None:
    net = mode(build()).eval()
    body = dissect(net, inputs=((2, 5, 8),))
    assert body.partial == ()
    assert body.macs == by_hand
    # Under gradients nothing is hidden from PyTorch's counter either.
    if any(parameter.requires_grad for parameter in net.parameters()) and mode is MODES["learning"]:
        assert body.macs == by_torch(net, (2, 5, 8), backward=False)


def _names(net: nn.Module) -> list[str]:
    return [node.name for node in dissect(net, inputs=((2, 5, 8),)).graph.nodes]


def test_the_fast_path_was_really_taken() -> None:
    attention = Run(lambda s, x: s.inner(x, x, x)[0], inner=_module())
    assert "_native_multi_head_attention" in _names(WithoutGradients(attention))
    assert "_native_multi_head_attention" not in _names(attention.requires_grad_(False))


def test_an_encoder_layer_in_one_operation() -> None:
    """A subclass of tensors, such as ours, never comes to it; called by itself it is counted."""
    net = WithoutGradients(Run(_in_one, layer=_encoder()))
    assert _names(net) == ["_transformer_encoder_layer_fwd"]
    body = dissect(net, inputs=((2, 5, 8),))
    assert body.partial == ()
    assert body.macs == ATTENTION + HIDDEN
    assert dissect(net, inputs=((2, 5, 8),), convention="full").partial == (
        "aten._transformer_encoder_layer_fwd",
    )


# Writing through a view, as temporal shift modules do.


class Shift(nn.Module):
    """Lin et al., 2019, TSM: some channels from the next frame, some from the one before."""

    def __init__(self, channels: int, step: int = 1, backward: bool = True) -> None:
        super().__init__()
        self.channels, self.step, self.backward = channels, step, backward

    def forward(self, x: Tensor) -> Tensor:
        out, fold, step = torch.zeros_like(x), self.channels, self.step
        out[:, step:, :fold] = x[:, :-step, :fold]
        if self.backward:
            out[:, :-step, fold : 2 * fold] = x[:, step:, fold : 2 * fold]
        out[:, :, 2 * fold :] = x[:, :, 2 * fold :]
        return out


class Reversed(Shift):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(1)).flip(1)


FRAMES = (2, 8, 6, 4, 4)


def test_what_is_written_through_a_view_is_part_of_the_fingerprint() -> None:
    shifts = [Shift(1), Shift(2), Shift(1, step=2), Shift(1, backward=False), Reversed(1)]
    assert len({dissect(net, inputs=(FRAMES,)).fingerprint for net in shifts}) == len(shifts)
    again = dissect(Shift(1), inputs=(FRAMES,)).fingerprint
    assert again == dissect(shifts[0], inputs=(FRAMES,)).fingerprint


@pytest.mark.parametrize("convention", ["torchvision", "fvcore", "full"])
def test_writing_through_a_view_costs_nothing(convention: str) -> None:
    body = dissect(Shift(2), inputs=(FRAMES,), convention=convention)
    assert (body.macs, body.partial) == (0, ())
    made = body.graph.values[body.graph.outputs[0]].shape
    assert made == Shift(2)(torch.zeros(FRAMES)).shape


@pytest.mark.parametrize("inputs", [5, torch.zeros(1, 3, 8, 8), "12", {(1, 3, 8, 8)}])
def test_inputs_are_a_list(inputs: Any) -> None:
    with pytest.raises(VertebraError, match="inputs takes one tensor or shape an argument"):
        dissect(nn.Conv2d(3, 4, 1), inputs=inputs)


@pytest.mark.parametrize("one", [(1, 3.9, 8, 8), "12", 7, None])
def test_a_shape_is_whole_numbers(one: Any) -> None:
    with pytest.raises(VertebraError, match="each of inputs should be a tensor or a shape like"):
        dissect(nn.Conv2d(3, 4, 1), inputs=[one])


class InPlaceOnAList(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        parts = [x.clone(), x + 1]
        torch._foreach_mul_(parts, 2.0)
        return parts[0] + parts[1]


def test_an_operation_that_returns_nothing_is_seen() -> None:
    body = dissect(InPlaceOnAList(), inputs=[(1, 3, 8, 8)])
    assert body.partial == ("aten._foreach_mul_",)


class Standardised(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight / self.weight.norm(), self.bias)


def test_a_weight_that_is_computed_is_a_weight() -> None:
    body = dissect(Standardised(8, 5), inputs=[(3, 8)])
    assert body.subtotals["linear"] == body.macs == 3 * 8 * 5
