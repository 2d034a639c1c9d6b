"""Our rules for shapes against PyTorch's own meta kernels, over random configurations.

Where PyTorch refuses, ours must refuse; where it gives tensors, ours must give tensors of the same
shapes and types.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from vertebra.anatomy.shapes import shapes_of

aten = torch.ops.aten
Outcome = list[tuple[tuple[int, ...], torch.dtype]] | None

many = settings(max_examples=150)
small = st.integers(1, 4)
sizes = st.integers(1, 9)


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def outcome(call: Callable[[], Any]) -> Outcome:
    """Shapes and types of what ``call`` gives, None where it refuses.

    Only what :func:`vertebra.anatomy.dissect` turns into an error of its own counts as refusing.
    """
    try:
        result = call()
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return None
    tensors = result if isinstance(result, tuple | list) else [result]
    return [(tuple(tensor.shape), tensor.dtype) for tensor in tensors]


def assert_agrees(func: Any, *args: Any, **kwargs: Any) -> None:
    theirs = outcome(lambda: func(*args, **kwargs))
    ours = outcome(lambda: shapes_of(func, args, kwargs))
    assert ours == theirs, f"{func}{[_shown(a) for a in args]}: {ours}, PyTorch {theirs}"


def _shown(argument: Any) -> Any:
    return tuple(argument.shape) if isinstance(argument, Tensor) else argument


def axes(values: st.SearchStrategy[int], rank: int) -> st.SearchStrategy[list[int]]:
    return st.lists(values, min_size=rank, max_size=rank)


@st.composite
def convolutions(draw: st.DrawFn, transposed: bool) -> tuple[Any, ...]:
    rank = draw(st.sampled_from([1, 2, 2, 2, 3]))
    groups, per_in, per_out = draw(small), draw(small), draw(small)
    kernel = draw(axes(st.integers(1, 5), rank))
    stride, dilation = draw(axes(st.integers(1, 3), rank)), draw(axes(st.integers(1, 3), rank))
    padding = draw(axes(st.integers(0, 4), rank))
    # Less than stride, as its definition demands.
    extra = [draw(st.integers(0, step - 1)) for step in stride] if transposed else [0] * rank
    channels, out = groups * per_in, groups * per_out
    x = meta(draw(small), channels, *draw(axes(sizes, rank)))
    first = (channels, per_out) if transposed else (out, per_in)
    bias = draw(st.sampled_from([None, meta(out)]))
    return x, meta(*first, *kernel), bias, stride, padding, dilation, transposed, extra, groups


@many
@given(convolutions(transposed=False))
def test_convolution(args: tuple[Any, ...]) -> None:
    assert_agrees(aten.convolution.default, *args)


@many
@given(convolutions(transposed=True))
def test_transposed_convolution(args: tuple[Any, ...]) -> None:
    theirs = outcome(lambda: aten.convolution.default(*args))
    # Of an output without pixels PyTorch's own kernels disagree whether it is an error.
    assume(theirs is None or 0 not in theirs[0][0])
    assert_agrees(aten.convolution.default, *args)


@many
@given(convolutions(transposed=False), st.integers(1, 16))
def test_convolution_of_the_wrong_number_of_channels(args: tuple[Any, ...], channels: int) -> None:
    x = args[0]
    wrong = meta(x.shape[0], channels, *x.shape[2:])
    assert_agrees(aten.convolution.default, wrong, *args[1:])


@pytest.mark.parametrize("shape", [(4,), (4, 1), (3, 6), (5,)])
def test_convolution_with_a_bias_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    """Against the real kernel: the one on meta lets a bias of any shape pass."""
    rest = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
    real = torch.ones(1, 2, 5, 5), torch.ones(4, 2, 3, 3), torch.ones(shape)
    theirs = outcome(lambda: aten.convolution.default(*real, *rest))
    args = (meta(1, 2, 5, 5), meta(4, 2, 3, 3), meta(*shape), *rest)
    assert outcome(lambda: shapes_of(aten.convolution.default, args, {})) == theirs


def test_softmax_over_an_axis_that_is_not_there() -> None:
    """Refused, as by the real kernel; the one on meta lets it pass."""
    args = (meta(2, 3), 5, False)
    with pytest.raises(IndexError):
        aten._softmax.default(torch.ones(2, 3), 5, False)
    assert outcome(lambda: shapes_of(aten._softmax.default, args, {})) is None


def test_one_value_stands_for_all_axes() -> None:
    args = (meta(1, 2, 9, 8), meta(4, 2, 3, 3), None)
    assert_agrees(aten.convolution.default, *args, [2], [1], [1], False, [0], 1)


@st.composite
def poolings(draw: st.DrawFn, valid: bool = True) -> tuple[Tensor, list[list[int]], bool]:
    """Input, [kernel, stride, padding], ceil_mode; padding up to half the kernel where valid."""
    kernel = draw(axes(st.integers(1, 5), 2))
    stride = draw(st.one_of(st.just([]), axes(st.integers(1, 4), 2)))
    padding = [draw(st.integers(0, size // 2 if valid else size)) for size in kernel]
    lead = draw(st.sampled_from([(2, 3), (3,)]))
    return meta(*lead, *draw(axes(sizes, 2))), [kernel, stride, padding], draw(st.booleans())


@many
@given(poolings(), axes(st.integers(1, 3), 2))
def test_max_pooling(pooling: tuple[Tensor, list[list[int]], bool], dilation: list[int]) -> None:
    x, windows, ceil_mode = pooling
    assert_agrees(aten.max_pool2d_with_indices.default, x, *windows, dilation, ceil_mode)


@many
@given(poolings(), st.booleans())
def test_average_pooling(pooling: tuple[Tensor, list[list[int]], bool], count_pad: bool) -> None:
    x, windows, ceil_mode = pooling
    assert_agrees(aten.avg_pool2d.default, x, *windows, ceil_mode, count_pad)


@many
@given(poolings(valid=False))
def test_poolings_padded_too_far(pooling: tuple[Tensor, list[list[int]], bool]) -> None:
    """PyTorch refuses padding beyond half the kernel: a window could lie wholly outside."""
    x, windows, ceil_mode = pooling
    assert_agrees(aten.avg_pool2d.default, x, *windows, ceil_mode)
    assert_agrees(aten.avg_pool2d.default, x, *windows, ceil_mode, True, 3)
    assert_agrees(aten.max_pool2d_with_indices.default, x, *windows, [1, 1], ceil_mode)


@many
@given(st.sampled_from([(2, 3), (3,)]), axes(sizes, 2), axes(st.integers(1, 5), 2))
def test_adaptive_pooling(lead: tuple[int, ...], size: list[int], out: list[int]) -> None:
    assert_agrees(aten._adaptive_avg_pool2d.default, meta(*lead, *size), out)


@st.composite
def stretched(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Two shapes that mostly fit each other: axes of one length, or one of them 1, or missing."""
    full = draw(st.lists(small, max_size=4))

    def side() -> Tensor:
        shape = [draw(st.sampled_from([size, size, 1, draw(small)])) for size in full]
        return meta(*shape[draw(st.integers(0, len(shape))) if draw(st.booleans()) else 0 :])

    return side(), side()


BINARY = [aten.add, aten.sub, aten.mul, aten.div]


@many
@given(stretched(), st.sampled_from(BINARY))
def test_broadcasting(sides: tuple[Tensor, Tensor], operation: Any) -> None:
    assert_agrees(operation.Tensor, *sides)


@many
@given(stretched(), st.sampled_from([aten.add_, aten.sub_, aten.mul_, aten.div_]))
def test_broadcasting_in_place(sides: tuple[Tensor, Tensor], operation: Any) -> None:
    """What is written into cannot grow."""
    left, right = sides
    assert_agrees(operation.Tensor, left, right)
    if outcome(lambda: operation.Tensor(left, right)) is not None:
        assert shapes_of(operation.Tensor, sides, {}) is left


@pytest.mark.parametrize("operation", BINARY)
@pytest.mark.parametrize("number", [2, 0.5, True])
def test_arithmetic_with_a_number(operation: Any, number: float) -> None:
    assert_agrees(operation.Tensor, meta(2, 3), number)
    assert_agrees(operation.Scalar, meta(2, 3), number)


def test_arithmetic_with_its_options() -> None:
    x, y = meta(2, 3), meta(3)
    assert_agrees(aten.add.Tensor, x, y, alpha=2)
    assert_agrees(aten.sub.Tensor, x, y, alpha=0.5)
    assert_agrees(aten.div.Tensor_mode, x, y, rounding_mode="floor")
    assert_agrees(aten.add.out, x, y, out=meta(2, 3))


TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64]


@pytest.mark.parametrize("left", TYPES)
@pytest.mark.parametrize("right", TYPES)
def test_mixed_types_are_promoted(left: torch.dtype, right: torch.dtype) -> None:
    for operation in (aten.add, aten.mul, aten.div):
        assert_agrees(operation.Tensor, meta(2, 1, dtype=left), meta(3, dtype=right))
    assert_agrees(aten.cat.default, [meta(2, dtype=left), meta(3, dtype=right)])


def test_a_complex_number_makes_it_complex() -> None:
    assert_agrees(aten.mul.Tensor, meta(2), 1j)


@many
@given(st.lists(small, min_size=1, max_size=4), st.data())
def test_joining(shape: list[int], data: st.DataObject) -> None:
    dim = data.draw(st.integers(-len(shape) - 1, len(shape)))
    axis = dim % len(shape)
    parts = []
    for _ in range(data.draw(st.integers(1, 3))):
        part = list(shape)
        part[axis] = data.draw(st.integers(0, 4))
        if data.draw(st.integers(0, 9)) == 0:
            part[data.draw(st.integers(0, len(shape) - 1))] += 1
        parts.append(meta(*part))
    assert_agrees(aten.cat.default, parts, dim)


def test_joining_what_is_empty_or_of_another_rank() -> None:
    assert_agrees(aten.cat.default, [meta(0), meta(2, 3)], 1)
    assert_agrees(aten.cat.default, [meta(2, 3), meta(0)], 0)
    assert_agrees(aten.cat.default, [meta(2, 3), meta(2)], 0)
    assert_agrees(aten.cat.default, [meta(2, 3), meta(2, 3, 1)], 0)


@many
@given(st.lists(small, max_size=4), st.data(), st.booleans())
def test_mean(shape: list[int], data: st.DataObject, keepdim: bool) -> None:
    axis = st.integers(-len(shape) - 1, len(shape))
    dims = data.draw(st.one_of(st.none(), st.lists(axis, max_size=3)))
    assert_agrees(aten.mean.dim, meta(*shape), dims, keepdim)


def test_mean_of_everything() -> None:
    assert_agrees(aten.mean.default, meta(2, 3))
    assert_agrees(aten.mean.default, meta())
    assert_agrees(aten.mean.default, meta(2, 3), dtype=torch.float64)
    assert_agrees(aten.mean.dim, meta(2, 3), [1], dtype=torch.float16)


shapes = st.lists(small, min_size=1, max_size=3)


@st.composite
def matrices(draw: st.DrawFn, batch: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    """Mostly a pair that can be multiplied, sometimes any two."""
    if draw(st.integers(0, 4)) == 0:
        return meta(*draw(shapes)), meta(*draw(shapes))
    rows, inner, columns = draw(st.integers(0, 5)), draw(st.integers(0, 5)), draw(small)
    return meta(*batch, rows, inner), meta(*batch, inner, columns)


@many
@given(matrices())
def test_matrix_product(sides: tuple[Tensor, Tensor]) -> None:
    assert_agrees(aten.mm.default, *sides)


@many
@given(matrices(batch=(3,)))
def test_batched_matrix_product(sides: tuple[Tensor, Tensor]) -> None:
    assert_agrees(aten.bmm.default, *sides)


@many
@given(matrices(), st.one_of(st.just([]), shapes), st.integers(0, 3))
def test_matrix_product_with_bias(
    sides: tuple[Tensor, Tensor], shape: list[int], kind: int
) -> None:
    """Mostly a bias as long as a row, sometimes of any shape."""
    bias = meta(sides[1].shape[-1]) if kind else meta(*shape)
    assert_agrees(aten.addmm.default, bias, *sides)


@many
@given(st.lists(small, min_size=1, max_size=4), st.integers(1, 4), st.booleans(), st.booleans())
def test_layer_norm(shape: list[int], count: int, affine: bool, fits: bool) -> None:
    normalised = shape[-count:] if fits else [5]
    weight = meta(*normalised) if affine else None
    assert_agrees(aten.native_layer_norm.default, meta(*shape), normalised, weight, weight, 1e-5)


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3), (2, 5, 3, 4), (2, 5, 1, 3, 4)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm(shape: tuple[int, ...], training: bool, affine: bool) -> None:
    """Against the CPU's kernel: the one for meta gives other statistics in evaluation."""

    def args(device: str) -> tuple[Any, ...]:
        x, one = torch.ones(shape, device=device), torch.ones(5, device=device)
        learnt = (one, one) if affine else (None, None)
        return (x, *learnt, one.clone(), one.clone(), training, 0.1, 1e-5)

    operation = aten.native_batch_norm.default
    theirs = outcome(lambda: operation(*args("cpu")))
    assert theirs is not None
    assert outcome(lambda: shapes_of(operation, args("meta"), {})) == theirs


UNARY: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (aten.relu.default, (), {}),
    (aten.gelu.default, (), {}),
    (aten.gelu.default, (), {"approximate": "tanh"}),
    (aten.silu.default, (), {}),
    (aten.sigmoid.default, (), {}),
    (aten.tanh.default, (), {}),
    (aten.hardswish.default, (), {}),
    (aten.hardtanh.default, (0.0, 6.0), {}),
    (aten.hardsigmoid.default, (), {}),
    (aten.leaky_relu.default, (0.1,), {}),
    (aten.elu.default, (1.0,), {}),
    (aten.mish.default, (), {}),
    (aten.softplus.default, (1, 20), {}),
    (aten.erf.default, (), {}),
    (aten.exp.default, (), {}),
    (aten.sqrt.default, (), {}),
    (aten.rsqrt.default, (), {}),
    (aten.neg.default, (), {}),
    (aten.abs.default, (), {}),
    (aten._softmax.default, (1, False), {}),
    (aten._log_softmax.default, (-1, False), {}),
    (aten.relu_.default, (), {}),
    (aten.hardswish_.default, (), {}),
    (aten.leaky_relu_.default, (0.1,), {}),
]


@pytest.mark.parametrize(("operation", "args", "options"), UNARY, ids=lambda value: str(value))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_element_by_element(
    operation: Any, args: tuple[Any, ...], options: dict[str, Any], dtype: torch.dtype
) -> None:
    assert_agrees(operation, meta(2, 3, dtype=dtype), *args, **options)


@pytest.mark.parametrize("operation", [aten.relu, aten.gelu, aten.sigmoid, aten.neg])
def test_an_activation_keeps_the_layout(operation: Any) -> None:
    """Otherwise a later view, which the real network can take, is refused, or the reverse."""
    channels_last = meta(2, 4, 5, 3).permute(0, 3, 1, 2)
    ours = shapes_of(operation.default, (channels_last,), {})
    assert ours.stride() == operation.default(channels_last).stride()


def test_a_sum_keeps_the_layout() -> None:
    left, right = (meta(2, 4, 5, 3).permute(0, 3, 1, 2) for _ in range(2))
    ours = shapes_of(aten.add.Tensor, (left, right), {})
    assert ours.stride() == aten.add.Tensor(left, right).stride()
