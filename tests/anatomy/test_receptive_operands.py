"""Fields where several operands, outputs or pooled maps depend on the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from counting import Run, numbers
from probe import bounds
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import ReceptiveField, dissect

SIZE = (3, 12, 12)


def _ones(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.ones(shape))


def _conv(kernel: int, channels: int = 3) -> nn.Conv2d:
    conv = nn.Conv2d(3, channels, kernel, padding=kernel // 2, bias=False)
    nn.init.constant_(conv.weight, 0.1)
    return conv


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).mT.reshape(-1, x.shape[1])


def _map(tokens: Tensor) -> Tensor:
    return tokens.reshape(1, 12, 12, -1).permute(0, 3, 1, 2)


# An operand broadcast against a larger constant, or added inside of a product.
FOLLOWED: dict[str, nn.Module] = {
    "more dimensions": Run(lambda s, x: (s.c(x)[0] * s.q)[2], c=_conv(3), q=_ones(4, 1, 1, 1)),
    "a row stretched": Run(
        lambda s, x: F.avg_pool2d((s.c(x).mean(2, keepdim=True) * s.k), (2, 1)),
        c=_conv(3),
        k=_ones(1, 1, 6, 1),
    ),
    "where": Run(
        lambda s, x: torch.where(s.q > 0, s.c(x)[0], s.q)[3], c=_conv(5), q=_ones(4, 3, 1, 1)
    ),
    "addmm": Run(
        lambda s, x: _map(torch.addmm(_tokens(s.c(x)), _tokens(x), s.w)), c=_conv(5), w=_ones(3, 3)
    ),
    "addmm of a row": Run(
        lambda s, x: _map(torch.addmm(x.mean((2, 3)), _tokens(x), s.w)), w=_ones(3, 3)
    ),
    "transposed": Run(
        lambda s, x: F.conv2d(s.c(x).transpose(2, 3), s.w, stride=(2, 1), padding=(1, 0)),
        c=nn.Conv2d(3, 3, (1, 5), padding=(0, 2)),
        w=_ones(4, 3, 3, 1),
    ),
    "permuted in a row": Run(
        lambda s, x: s.c(x).mT.flatten(2).view(1, 3, 12, 12)[:, :, 1:, ::2],
        c=nn.Conv2d(3, 3, (1, 3), padding=(0, 1)),
    ),
    "gated": Run(lambda s, x: F.glu(s.c(x), 1), c=_conv(3, 4)),
}


@pytest.mark.parametrize("net", FOLLOWED.values(), ids=FOLLOWED)
def test_every_operand_counts(net: nn.Module) -> None:
    net = net.double()
    x = torch.full((1, *SIZE), 0.5, dtype=torch.float64, requires_grad=True)
    out = net(x)
    rows, columns = out.shape[-2:]
    field: Any = dissect(net, inputs=[x]).receptive_field
    for row in range(rows):
        for column in range(columns):
            every = out[..., row, column].sum()
            (gradient,) = torch.autograd.grad(every, x, retain_graph=True)
            assert field.box(row, column) == bounds((gradient[0].abs() > 1e-12).any(0))


def _with(norm: Callable[..., Tensor]) -> nn.Module:
    """A norm whose scale is made from the whole image."""
    return Run(lambda s, x: norm(x, s.scale(x.mean((2, 3)))[0]), scale=nn.Linear(3, 3))


# An operand that the transfer of its operation knows nothing of.
NOT_FOLLOWED: dict[str, tuple[nn.Module, str]] = {
    "bias": (
        Run(
            lambda s, x: F.conv2d(x, s.w, bias=s.l(x.mean((2, 3)))[0]),
            w=numbers(4, 3, 3, 3),
            l=nn.Linear(3, 4),
        ),
        "convolution",
    ),
    "batch norm": (
        _with(lambda x, scale: F.batch_norm(x, torch.zeros(3), torch.ones(3), scale)),
        "native_batch_norm",
    ),
    "layer norm": (
        _with(lambda x, scale: F.layer_norm(x.permute(0, 2, 3, 1), (3,), scale)),
        "native_layer_norm",
    ),
}


@pytest.mark.parametrize(("net", "name"), NOT_FOLLOWED.values(), ids=NOT_FOLLOWED)
def test_an_operand_out_of_sight_ends_the_field(net: nn.Module, name: str) -> None:
    body = dissect(net, SIZE)
    assert body.receptive_field is None
    assert (body.unknown_field or "").startswith(f"not followed beyond {name}")


def _net(forward: Callable[..., Any]) -> nn.Module:
    """``near`` sees 3 pixels, ``far`` after it 3 + (9 - 1) = 11."""
    near, far = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 9, stride=2)
    return Run(forward, near=near, far=far, head=nn.Linear(8, 2))


def _pooled(s: Any, x: Tensor) -> Tensor:
    return s.head(x.mean((2, 3)))


SEVERAL: dict[str, tuple[Callable[..., Any], int]] = {
    "an auxiliary head": (
        lambda s, x: (_pooled(s, s.far(s.near(x))), _pooled(s, s.near(x))),
        11,
    ),
    "an early exit": (lambda s, x: [_pooled(s, s.near(x)), _pooled(s, s.far(s.near(x)))], 3),
    "a dictionary": (
        lambda s, x: {"out": _pooled(s, s.far(s.near(x))), "aux": _pooled(s, s.near(x))},
        11,
    ),
    "pooled side by side": (
        lambda s, x: torch.cat([s.far(s.near(x)).mean((2, 3)), s.near(x).mean((2, 3))], 1),
        11,
    ),
    "the other way round": (
        lambda s, x: torch.cat([s.near(x).mean((2, 3)), s.far(s.near(x)).mean((2, 3))], 1),
        11,
    ),
}


@pytest.mark.parametrize(("forward", "size"), SEVERAL.values(), ids=SEVERAL)
def test_the_last_map_is_that_of_the_first_output(forward: Callable[..., Any], size: int) -> None:
    field = dissect(_net(forward), (3, 32, 32)).receptive_field
    assert isinstance(field, ReceptiveField)
    assert (field.size, field.is_global) == ((size, size), False)


def test_what_another_output_loses_does_not_count() -> None:
    two = _net(lambda s, x: (s.near(x), torch.fft.rfft2(s.near(x)).abs()))
    assert dissect(two, (3, 32, 32)).unknown_field is None
    turned = _net(lambda s, x: (torch.cumsum(s.near(x), 2), torch.fft.rfft2(x).abs()))
    assert dissect(turned, (3, 32, 32)).unknown_field == "not followed beyond cumsum"
    indices = _net(lambda s, x: F.max_pool2d(s.near(x), 2, return_indices=True)[1])
    assert dissect(indices, (3, 32, 32)).unknown_field == (
        "not followed beyond max_pool2d_with_indices"
    )
