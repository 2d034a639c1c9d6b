"""What a gradient really reaches, for tests of receptive fields."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vertebra.anatomy import ReceptiveField
from vertebra.nn import LayerNorm2d
from vertebra.nn.local_response import ResponseNorm


def linearised(net: nn.Module) -> nn.Module:
    """The same connections with every path open: positive weights, no nonlinearity, no norm.

    No gradient can then vanish or cancel. Max-pooling, which lets through one pixel of its
    window, becomes average pooling over the same window. ReLU needs no change: what goes
    through it is positive. Norms that are replaced work position by position.
    """
    norms = (nn.BatchNorm2d, nn.LayerNorm, LayerNorm2d, ResponseNorm)
    pointwise = (*norms, nn.Tanh, nn.GELU, nn.ReLU6)  # the last one saturates
    for path, module in list(net.named_modules()):
        if isinstance(module, pointwise):
            _replace(net, path, nn.Identity())
        elif isinstance(module, nn.MaxPool2d):
            size, stride, padding = module.kernel_size, module.stride, module.padding
            pool = nn.AvgPool2d(size, stride, padding, ceil_mode=module.ceil_mode)
            _replace(net, path, pool)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    return net.double().eval().requires_grad_(False)


def _replace(net: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, module)


def reached(run: Callable[[Tensor], Tensor], shape: tuple[int, ...], at: tuple[int, int]) -> Tensor:
    """(H, W): whether the output at ``at`` depends on the pixel."""
    x = torch.ones((1, *shape), dtype=torch.float64, requires_grad=True)
    out = run(x)
    (gradient,) = torch.autograd.grad(out[0, :, at[0], at[1]].sum(), x)
    return (gradient[0] != 0).any(dim=0)


Bounds = tuple[tuple[int, int], tuple[int, int]]


def bounds(mask: Tensor) -> Bounds | None:
    """First and last row, first and last column of what is true in (H, W); None of nothing."""
    if not mask.any():
        return None
    rows, columns = (mask.any(dim=1 - axis).nonzero().flatten() for axis in (0, 1))
    return (int(rows[0]), int(rows[-1])), (int(columns[0]), int(columns[-1]))


def assert_box(mask: Tensor, field: ReceptiveField, at: tuple[int, int]) -> None:
    """What is reached spans exactly the field of position ``at``, by its rule too if it has one."""
    found = bounds(mask)
    assert found is not None
    assert found == field.box(*at)
    if field.is_uniform and not field.is_global:
        assert_rule(found, field, at)


def assert_within_rule(found: Bounds, field: ReceptiveField, at: tuple[int, int]) -> None:
    """What is reached lies in the field by size, stride and start, which knows no border."""
    for axis in (0, 1):
        first = field.start[axis] + at[axis] * field.stride[axis]
        assert first <= found[axis][0] <= found[axis][1] <= first + field.size[axis] - 1


def assert_rule(found: Bounds, field: ReceptiveField, at: tuple[int, int]) -> None:
    """Size, stride and start say the same, of a field in the middle of a large image."""
    for axis in (0, 1):
        first = field.start[axis] + at[axis] * field.stride[axis]
        assert found[axis] == (first, first + field.size[axis] - 1)
