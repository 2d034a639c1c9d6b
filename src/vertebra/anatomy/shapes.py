"""Output shapes of the operations that networks are mostly made of.

PyTorch's meta kernels know them too, but written in Python, behind its symbolic algebra and its
compiler: four seconds of imports before the first convolution. So the plain cases of the common
ones stand here, each the documented arithmetic, each tested against PyTorch's kernel. A rule
answers None to whatever is not plain: then PyTorch decides, and complains where there is reason to.
Only what its meta kernels let pass, and its real ones do not, is refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vertebra.anatomy.arithmetic import conv_size, pool_size, transposed_conv_size
from vertebra.anatomy.axes import on_axis

# From an operation's arguments, as meta tensors, to what it makes; None: ask PyTorch.
Rule = Callable[..., Any]


def _channels_last(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of (N, C, H, W) with the channels innermost.

    Not ``is_contiguous``: of a single image that is true of other strides too, which a convolution
    does not take for this layout.
    """
    _, channels, height, width = shape
    return height * width * channels, 1, width * channels, channels


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor | None:
    out_chans, in_chans = weight.shape[0], weight.shape[1] * groups
    if transposed:
        out_chans, in_chans = in_chans, out_chans
    if weight.shape[0] % groups or (bias is not None and tuple(bias.shape) != (out_chans,)):
        raise RuntimeError(f"{out_chans} maps in {groups} groups do not fit their weight or bias")
    if x.ndim != weight.ndim or x.shape[1] != in_chans or not weight.is_contiguous():
        return None
    last = not x.is_contiguous()
    if last and (x.ndim != 4 or x.stride() != _channels_last(x.shape)):
        return None
    lengths = []
    for axis, size in enumerate(x.shape[2:]):
        kernel = weight.shape[2 + axis]
        step, pad, dilated = (on_axis(values, axis) for values in (stride, padding, dilation))
        if transposed:
            extra = on_axis(output_padding, axis)
            if extra >= max(step, dilated):
                return None
            lengths.append(transposed_conv_size(size, kernel, step, pad, dilated, extra))
        else:
            lengths.append(conv_size(size, kernel, step, pad, dilated))
    if min(lengths) <= 0:
        return None
    # Channels that lie last stay there.
    layout = torch.channels_last if last else torch.contiguous_format
    shape = (x.shape[0], out_chans, *lengths)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)


def _pooled(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[int, ...] | None:
    stride = stride or kernel_size  # PyTorch's default: as far as the kernel
    lengths = []
    for axis, size in enumerate(x.shape[-2:]):
        kernel, pad = on_axis(kernel_size, axis), on_axis(padding, axis)
        if pad > kernel // 2:
            return None
        step, dilated = on_axis(stride, axis), on_axis(dilation, axis)
        lengths.append(pool_size(size, kernel, step, pad, dilated, ceil_mode))
    return (*x.shape[:-2], *lengths) if min(lengths) > 0 and x.ndim == 4 else None


def _max_pool(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor] | None:
    shape = _pooled(x, kernel_size, stride, padding, dilation, ceil_mode)
    if shape is None:
        return None
    return x.new_empty(shape), x.new_empty(shape, dtype=torch.int64)


def _avg_pool(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor | None:
    shape = _pooled(x, kernel_size, stride, padding, (1,), ceil_mode)
    return None if shape is None else x.new_empty(shape)


def _mean(x: Tensor, dim: Sequence[int] | None, keepdim: bool = False) -> Tensor | None:
    if not dim or any(not -x.ndim <= axis < x.ndim for axis in dim):
        return None
    axes = {axis % x.ndim for axis in dim}
    # Without its rows and columns a map lies in one way only.
    if not x.is_contiguous() and not (x.ndim == 4 and axes == {2, 3}):
        return None
    if len(axes) < len(dim):
        return None
    kept = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    return x.new_empty([n for axis, n in enumerate(kept) if keepdim or axis not in axes])


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """The output; the statistics are only kept in training, which PyTorch answers."""
    vectors = [v for v in (weight, bias, running_mean, running_var) if v is not None]
    if training or x.ndim < 2 or any(tuple(v.shape) != (x.shape[1],) for v in vectors):
        return None
    return x.new_empty(x.shape), x.new_empty(0), x.new_empty(0)


def _layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """The output, and mean and reciprocal deviation of each normalised slice."""
    normed = tuple(normalized_shape)
    split = x.ndim - len(normed)
    sides = [tuple(side.shape) for side in (weight, bias) if side is not None]
    if split < 0 or tuple(x.shape[split:]) != normed or any(side != normed for side in sides):
        return None
    slices = (*x.shape[:split], *(1 for _ in normed))
    return x.new_empty(x.shape), x.new_empty(slices), x.new_empty(slices)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor] | None:
    """The mixed values, which lie token by token, heads side by side, and the log-sums."""
    if query.ndim != 4 or key.shape != value.shape or query.shape[-1] != key.shape[-1]:
        return None
    count, heads, tokens, width = query.shape
    mixed = query.new_empty((count, tokens, heads, width)).transpose(1, 2)
    return mixed, query.new_empty((count, tokens, heads)).transpose(1, 2)


def _mm(left: Tensor, right: Tensor) -> Tensor | None:
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        return None
    return left.new_empty((left.shape[0], right.shape[1]))


def _bmm(left: Tensor, right: Tensor) -> Tensor | None:
    if left.ndim != 3 or right.ndim != 3 or left.shape[0] != right.shape[0]:
        return None
    if left.shape[2] != right.shape[1]:
        return None
    return left.new_empty((*left.shape[:2], right.shape[2]))


def _addmm(bias: Tensor, left: Tensor, right: Tensor) -> Tensor | None:
    product = _mm(left, right)
    if product is None or tuple(bias.shape) != (product.shape[1],):
        return None
    return product


def _same(x: Tensor, *_numbers: float) -> Tensor:
    return x.new_empty(x.shape)


def _softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor | None:
    if not -x.ndim <= dim < max(x.ndim, 1):
        raise RuntimeError(f"a softmax over axis {dim} cannot take {tuple(x.shape)}")
    return None if half_to_float else x.new_empty(x.shape)


def _binary(left: Tensor, right: Tensor | float) -> Tensor | None:
    """Element by element, with axes of length 1 stretched."""
    if isinstance(right, int | float):
        return left.new_empty(left.shape)
    if not isinstance(right, Tensor):
        return None
    shape = _broadcast(left, right)
    return None if shape is None else left.new_empty(shape)


def _broadcast(left: Tensor, right: Tensor) -> tuple[int, ...] | None:
    """The shape of both together, None where they do not fit."""
    rank = max(left.ndim, right.ndim)
    padded = [(1,) * (rank - side.ndim) + tuple(side.shape) for side in (left, right)]
    if any(a != b and 1 not in (a, b) for a, b in zip(*padded, strict=True)):
        return None
    return tuple(b if a == 1 else a for a, b in zip(*padded, strict=True))


def _addcmul(x: Tensor, left: Tensor, right: Tensor, *, value: float = 1) -> Tensor | None:
    """x + value * left * right, where x has the shape of the result, in the layout of x."""
    for side in (left, right):
        if side.shape == x.shape and side.stride() != x.stride():
            return None
        if _broadcast(x, side) != tuple(x.shape):
            return None
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    if not -first.ndim <= dim < first.ndim:
        return None
    # Maps may all lie with their channels last, and then the result does.
    # A map of one pixel is contiguous either way: its strides tell which one PyTorch takes it for.
    if first.ndim > 3 and any(t.stride() != t.new_empty(t.shape).stride() for t in tensors):
        return None
    axis = dim % first.ndim
    if len({(*t.shape[:axis], -1, *t.shape[axis + 1 :]) for t in tensors}) > 1:
        return None
    total = sum(t.shape[axis] for t in tensors)
    return first.new_empty((*first.shape[:axis], total, *first.shape[axis + 1 :]))


_UNARY = (
    "relu gelu silu sigmoid tanh hardswish hardtanh hardsigmoid leaky_relu elu mish softplus erf "
    "exp sqrt rsqrt neg abs"
).split()

# By full name: an overload with other arguments, such as ``out=``, is another operation.
_RULES: dict[str, Rule] = {
    "aten.convolution.default": _convolution,
    "aten.max_pool2d_with_indices.default": _max_pool,
    "aten.avg_pool2d.default": _avg_pool,
    "aten.mean.dim": _mean,
    "aten.native_batch_norm.default": _batch_norm,
    "aten.native_layer_norm.default": _layer_norm,
    "aten._scaled_dot_product_flash_attention_for_cpu.default": _attention,
    "aten.mm.default": _mm,
    "aten.bmm.default": _bmm,
    "aten.addmm.default": _addmm,
    "aten.cat.default": _cat,
    "aten.addcmul.default": _addcmul,
    "aten._softmax.default": _softmax,
    "aten._log_softmax.default": _softmax,
    **{f"aten.{name}.default": _same for name in _UNARY},
    **{f"aten.{name}_.default": _same for name in _UNARY},
    **{f"aten.{name}.Tensor": _binary for name in ("add", "sub", "mul", "div")},
    **{f"aten.{name}_.Tensor": _binary for name in ("add", "sub", "mul", "div")},
}
# What these make does not take its layout from their operands.
_ANY_LAYOUT = {
    f"aten.{name}.default"
    for name in """
    addcmul convolution mm bmm addmm cat native_layer_norm
    _scaled_dot_product_flash_attention_for_cpu
    """.split()
} | {"aten.mean.dim"}
# These are called with keywords.
_KEYWORDS = {
    "aten._scaled_dot_product_flash_attention_for_cpu.default",
    "aten.addcmul.default",
}


def shapes_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run ``func`` on meta tensors: by a rule of this file where one covers it, else by PyTorch.

    Covered are calls on float32 tensors in the plain layout, most of them without keywords.
    """
    name = str(func)
    rule = _RULES.get(name)
    known = rule is not None and (not kwargs or name in _KEYWORDS)
    if rule is not None and known and _plain(_tensors(args), name in _ANY_LAYOUT):
        result = rule(*args, **kwargs)
        in_place = "_." in name
        if in_place and result is not None:
            return args[0] if result.shape == args[0].shape else func(*args)
        if result is not None:
            return result
    return func(*args, **kwargs)


def _plain(tensors: Sequence[Tensor], any_layout: bool) -> bool:
    return all(
        tensor.dtype == torch.float32 and (any_layout or tensor.is_contiguous())
        for tensor in tensors
    )


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found
