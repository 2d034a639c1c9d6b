"""Where a receptive field cannot be told by intervals, and where a mask can be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from probe import bounds
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import dissect
from vertebra.core import VertebraError

SIZE = (2, 4, 8)


class Windows(nn.Module):
    """Attention in 4 x 4 windows of a rolled map, with something constant added to its scores."""

    def __init__(self, kind: str, fused: bool) -> None:
        super().__init__()
        self.kind, self.fused = kind, fused
        part = torch.arange(16) % 4 >= 2
        apart = part[:, None] != part[None]
        window = torch.where(torch.tensor([False, True])[:, None, None], apart, False)
        hidden = torch.zeros(2, 16, 16).masked_fill(window, -torch.inf)[:, None]
        self.register_buffer("attn_mask" if kind == "mask" else "slopes", hidden.double())

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.roll(-2, 3).view(1, 2, 4, 2, 4).permute(0, 3, 2, 4, 1).reshape(2, 1, 16, 2) + 1
        if self.kind == "made":
            place = torch.arange(16, dtype=torch.float32) % 4
            apart = (place[:, None] - place[None]).abs() > 1.5
            added: Any = torch.zeros(16, 16, dtype=x.dtype).masked_fill(apart, -1.0)
        elif self.kind == "mask":
            added = self.attn_mask
        else:
            added = self.slopes * 0
        if self.fused:
            mixed = F.scaled_dot_product_attention(tokens, tokens, tokens, added)
        else:
            mixed = torch.softmax(tokens @ tokens.mT + added, -1) @ tokens
        return mixed.view(1, 2, 4, 4, 2).permute(0, 4, 2, 1, 3).reshape(1, 2, 4, 8).roll(2, 3)


@pytest.mark.parametrize("fused", [True, False])
def test_a_buffer_that_is_called_a_mask_parts_what_was_rolled(fused: bool) -> None:
    field, boxes = _both(Windows("mask", fused))
    assert field == boxes


@pytest.mark.parametrize("fused", [True, False])
def test_another_constant_hides_nothing(fused: bool) -> None:
    """Slopes by distance are added to scores too, and let everything through."""
    net = Windows("slopes", fused)
    field = dissect(net, inputs=[torch.empty((1, *SIZE), dtype=torch.float64)]).receptive_field
    assert field is not None
    assert field.box(0, 7) == ((0, 3), (0, 7))


def _both(net: nn.Module) -> tuple[list[Any], list[Any]]:
    """What every position sees: as told, and by the gradient."""
    x = torch.rand((1, *SIZE), dtype=torch.float64, requires_grad=True)
    field = dissect(net, inputs=[x]).receptive_field
    assert field is not None
    out, told, real = net(x), [], []
    for row in range(4):
        for column in range(8):
            every = out[0, :, row, column].square().sum()
            (gradient,) = torch.autograd.grad(every, x, retain_graph=True)
            told.append(field.box(row, column))
            real.append(bounds((gradient[0].abs() > 1e-12).any(0)))
    return told, real


class Hidden(nn.Module):
    """Tokens that may not look at all others, for reasons that stand in numbers."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        tokens = x.flatten(2).mT[:, None]
        if self.how == "causal":
            mixed = F.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True)
        else:
            seen = torch.ones(h * w, h * w, dtype=torch.bool).tril()
            mixed = F.scaled_dot_product_attention(tokens, tokens, tokens, seen)
        return mixed[:, 0].mT.reshape(n, c, h, w)


@pytest.mark.parametrize("how", ["causal", "triangle"])
def test_who_is_hidden_by_numbers_is_not_known(how: str) -> None:
    assert dissect(Hidden(how), SIZE).receptive_field is None


class Token(nn.Module):
    """A class token beside positions that see everything, itself seeing nothing yet."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = (x + x.mean((2, 3), keepdim=True)).flatten(2).mT
        joined = torch.cat([tokens.new_zeros(1, 1, 2), tokens], 1)
        return joined[:, torch.tensor([0])]


def test_a_token_that_sees_nothing_is_not_global() -> None:
    field = dissect(Token(), SIZE).layers[-1].receptive_field
    assert field is None or not field.is_global


class Patches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, c, h // 4, 4, w // 4, 4).mean((3, 5))


def test_a_sum_over_part_of_an_axis_leaves_fewer_positions() -> None:
    field = dissect(Patches(), (2, 16, 16)).receptive_field
    assert field is not None
    assert field.stride == (4, 4)
    assert field.box(1, 2) == ((4, 7), (8, 11))


class Spectral(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft2(x).abs()


def test_why_a_field_is_not_known_is_said() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 1), Spectral())
    assert dissect(net, SIZE).unknown_field == "not followed beyond 1 (Spectral)"
    assert dissect(nn.Linear(4, 2), inputs=[(5, 4)]).unknown_field == (
        "told of images (batch, channels, height, width) only"
    )
    known = dissect(nn.Conv2d(2, 3, 1), SIZE)
    assert known.unknown_field is None
    assert known.to_dict()["unknown_field"] is None


def test_a_position_outside_of_the_map_is_refused() -> None:
    field = dissect(nn.Conv2d(2, 3, 3), SIZE).receptive_field
    assert field is not None
    assert field.box(1, 5) == ((1, 3), (5, 7))
    for position in ((2, 0), (0, 6), (-1, 0)):
        with pytest.raises(VertebraError, match="lies outside of a map of 2x6"):
            field.box(*position)
