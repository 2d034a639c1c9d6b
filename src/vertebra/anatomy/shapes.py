"""Output shapes of the operations that networks are mostly made of.

PyTorch's meta kernels know them too, but written in Python, behind its symbolic algebra and its
compiler: four seconds of imports before the first convolution. So the common ones stand here, each
the documented arithmetic, each tested against PyTorch's kernel; whatever they do not cover (other
types, other operations) goes there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Rule = Callable[..., Any]


def conv_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Positions of a window along one axis: floor((n + 2p - d(k - 1) - 1) / s) + 1."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def transposed_conv_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int, output_padding: int
) -> int:
    """Positions of a transposed convolution: (n - 1)s - 2p + d(k - 1) + output_padding + 1."""
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1


def pool_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> int:
    """Positions of a pooling window; with ``ceil_mode`` a last, partial one counts if it begins
    inside the input or its left padding.
    """
    if not ceil_mode:
        return conv_size(size, kernel, stride, padding, dilation)
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    positions = -(-span // stride) + 1
    return positions - 1 if (positions - 1) * stride >= size + padding else positions


def _at(values: Sequence[int], axis: int) -> int:
    """One value may stand for all axes."""
    return values[axis] if len(values) > 1 else values[0]


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
) -> Tensor:
    """Refuses what the real one refuses."""
    kernel, spatial = weight.shape[2:], x.shape[2:]
    wanted = weight.shape[0] if transposed else weight.shape[1] * groups
    if len(weight.shape) != len(x.shape):
        raise RuntimeError(f"a convolution needs {len(weight.shape)} axes, got {tuple(x.shape)}")
    if x.shape[1] != wanted:
        raise RuntimeError(f"a convolution takes {wanted} channels, but its input has {x.shape[1]}")
    out = []
    for axis, size in enumerate(spatial):
        step, pad, dilated = (_at(values, axis) for values in (stride, padding, dilation))
        if transposed:
            extra = _at(output_padding, axis)
            length = transposed_conv_size(size, kernel[axis], step, pad, dilated, extra)
        else:
            length = conv_size(size, kernel[axis], step, pad, dilated)
        out.append(length)
    if min(out) <= 0:
        raise RuntimeError(f"a kernel of {tuple(kernel)} is larger than its input {tuple(spatial)}")
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    return x.new_empty((x.shape[0], channels, *out))


def _pooled(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[int, ...]:
    stride = stride or kernel_size  # PyTorch's default: as far as the kernel
    out = tuple(
        pool_size(
            size,
            _at(kernel_size, axis),
            _at(stride, axis),
            _at(padding, axis),
            _at(dilation, axis),
            ceil_mode,
        )
        for axis, size in enumerate(x.shape[-2:])
    )
    if min(out) <= 0:
        raise RuntimeError(
            f"a pooling of {tuple(kernel_size)} is larger than {tuple(x.shape[-2:])}"
        )
    return (*x.shape[:-2], *out)


def _max_pool(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    shape = _pooled(x, kernel_size, stride, padding, dilation, ceil_mode)
    return x.new_empty(shape), x.new_empty(shape, dtype=torch.int64)


def _avg_pool(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    return x.new_empty(_pooled(x, kernel_size, stride, padding, (1,), ceil_mode))


def _adaptive_pool(x: Tensor, output_size: Sequence[int]) -> Tensor:
    return x.new_empty((*x.shape[:-2], *output_size))


def _mean(
    x: Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    axes = {axis % x.ndim for axis in (dim or range(x.ndim))}
    kept = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    shape = kept if keepdim else [size for axis, size in enumerate(x.shape) if axis not in axes]
    return x.new_empty(shape, dtype=dtype)


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The output and, in training, the statistics of each channel."""
    if weight is not None and weight.shape[0] != x.shape[1]:
        raise RuntimeError(f"a norm of {weight.shape[0]} channels cannot take {x.shape[1]}")
    statistics = x.shape[1] if training else 0
    return x.new_empty(x.shape), x.new_empty(statistics), x.new_empty(statistics)


def _layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The output, and mean and reciprocal deviation of each normalised slice."""
    if tuple(x.shape[-len(normalized_shape) :]) != tuple(normalized_shape):
        raise RuntimeError(f"a norm over {tuple(normalized_shape)} cannot take {tuple(x.shape)}")
    slices = (*x.shape[: -len(normalized_shape)], *(1 for _ in normalized_shape))
    return x.new_empty(x.shape), x.new_empty(slices), x.new_empty(slices)


def _mm(left: Tensor, right: Tensor) -> Tensor:
    if left.shape[-1] != right.shape[-2] or left.shape[:-2] != right.shape[:-2]:
        raise RuntimeError(f"cannot multiply {tuple(left.shape)} by {tuple(right.shape)}")
    return left.new_empty((*left.shape[:-1], right.shape[-1]))


def _addmm(
    bias: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    return _mm(left, right)


def _same(x: Tensor, *_arguments: Any) -> Tensor:
    return x.new_empty(x.shape)


def _binary(
    left: Tensor, right: Any, *, alpha: float = 1, rounding_mode: str | None = None
) -> Tensor:
    """Element by element, with axes of length 1 stretched."""
    if not isinstance(right, Tensor):
        return left.new_empty(left.shape)
    rank = max(left.ndim, right.ndim)
    padded = [(1,) * (rank - side.ndim) + tuple(side.shape) for side in (left, right)]
    shape = []
    for a, b in zip(*padded, strict=True):
        if a != b and 1 not in (a, b):
            raise RuntimeError(f"shapes {tuple(left.shape)} and {tuple(right.shape)} do not match")
        shape.append(b if a == 1 else a)
    return left.new_empty(shape)


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    first = tensors[0]
    axis = dim % first.ndim
    rest = {(*t.shape[:axis], *t.shape[axis + 1 :]) for t in tensors}
    if len(rest) > 1:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        raise RuntimeError(f"cannot join {shapes} along axis {dim}")
    total = sum(t.shape[axis] for t in tensors)
    return first.new_empty((*first.shape[:axis], total, *first.shape[axis + 1 :]))


_UNARY = (
    "relu gelu silu sigmoid tanh hardswish hardtanh hardsigmoid leaky_relu elu mish softplus erf "
    "exp sqrt rsqrt neg abs _softmax _log_softmax"
).split()

_RULES: dict[str, Rule] = {
    "aten.convolution": _convolution,
    "aten.max_pool2d_with_indices": _max_pool,
    "aten.avg_pool2d": _avg_pool,
    "aten._adaptive_avg_pool2d": _adaptive_pool,
    "aten.mean": _mean,
    "aten.native_batch_norm": _batch_norm,
    "aten.native_layer_norm": _layer_norm,
    "aten.mm": _mm,
    "aten.bmm": _mm,
    "aten.addmm": _addmm,
    "aten.cat": _cat,
    **{f"aten.{name}": _same for name in _UNARY},
    **{f"aten.{name}": _binary for name in ("add", "sub", "mul", "div")},
}


def shapes_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run ``func`` on meta tensors: by a rule of this file where one covers it, else by PyTorch.

    Only float32 throughout is covered; with other types PyTorch decides what comes out.
    """
    name = str(func.overloadpacket)
    in_place = name.endswith("_") and not name.endswith("__")
    rule = _RULES.get(name.rstrip("_") if in_place else name)
    tensors = _tensors((*args, *kwargs.values()))
    if rule is None or any(tensor.dtype != torch.float32 for tensor in tensors):
        return func(*args, **kwargs)
    if name == "aten.mean" and len(args) < 2:
        args = (*args, None)
    result = rule(*args, **kwargs)
    return args[0] if in_place else result


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found
