"""Bytes moved and the roofline, by hand and on the networks that are known for it."""

import copy

import pytest
import torch
from torch import Tensor, nn

from vertebra.anatomy import bounds, dissect
from vertebra.core import VertebraError
from vertebra.machine import Roofline
from vertebra.zoo import create

ROOF = Roofline({"fp32": 100e9, "bf16": 200e9}, 40e9, 2)


def test_bytes_by_hand() -> None:
    """Input, weight, bias and output of a convolution and a linear layer, four bytes each."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 5))
    conv, relu, flat, linear = dissect(net, (3, 8, 8), batch=2).layers
    assert flat.bytes_moved == 0
    assert conv.bytes_moved == 4 * (2 * 3 * 64 + 8 * 27 + 8 + 2 * 8 * 64)
    assert relu.bytes_moved == 4 * 2 * (2 * 8 * 64)
    assert linear.bytes_moved == 4 * (2 * 512 + 512 * 5 + 5 + 2 * 5)
    assert conv.intensity == conv.macs / conv.bytes_moved


class Views(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).reshape(1, 4, 48).mT


def test_views_move_nothing_and_copies_do() -> None:
    body = dissect(Views(), (3, 8, 8))
    assert body.bytes_moved == 2 * 4 * 3 * 64  # the reshape of a permutation copies
    assert body.macs == 0


def test_types_have_their_size() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False))
    wide, narrow = dissect(net, (3, 8, 8)), dissect(net.bfloat16(), (3, 8, 8))
    assert wide.bytes_moved == 2 * narrow.bytes_moved


def test_parts_hold_what_their_layers_move() -> None:
    body = dissect(create("resnet50", seed=0))
    assert sum(stage.bytes_moved for stage in body.stages) == body.bytes_moved
    assert sum(layer.bytes_moved for layer in body.layers) == body.bytes_moved
    assert sum(part.bytes_moved for part in body.at_depth(2)) == body.bytes_moved


def test_the_roof_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.ReLU())
    under = bounds(dissect(net, (64, 32, 32)), ROOF)
    conv, relu = under.layers
    assert conv.arithmetic == pytest.approx(64 * 64 * 9 * 1024 / 100e9)
    assert conv.memory == pytest.approx(4 * (2 * 64 * 1024 + 64 * 64 * 9) / 40e9)
    assert (conv.by, relu.by) == ("arithmetic", "memory")
    assert relu.arithmetic == 0
    assert under.seconds == pytest.approx(conv.arithmetic + relu.memory)
    assert under.memory_share == pytest.approx(relu.memory / under.seconds)
    half = bounds(dissect(net, (64, 32, 32)), ROOF, "bf16").layers[0]
    assert half.arithmetic == pytest.approx(conv.arithmetic / 2)
    assert half.memory == pytest.approx(conv.memory / 2)


def test_why_efficientnet_is_not_ten_times_as_fast() -> None:
    """A tenth of the MACs, but most of its time waits for memory, where ResNet-50 computes."""
    with torch.device("meta"):
        large, small = (dissect(create(n, seed=0)) for n in ("resnet50", "efficientnet_b0"))
    assert large.macs / small.macs > 10
    assert bounds(large, ROOF).seconds / bounds(small, ROOF).seconds < 7
    assert bounds(small, ROOF).memory_share > 0.5 > bounds(large, ROOF).memory_share
    assert small.intensity < large.intensity / 4


def test_a_precision_that_was_not_measured_is_refused() -> None:
    body = dissect(create("resnet20", seed=0))
    with pytest.raises(VertebraError, match="unknown precision of a roofline 'fp16'"):
        bounds(body, ROOF, "fp16")


def test_a_look_up_reads_what_it_gives() -> None:
    body = dissect(nn.Embedding(50_000, 512), inputs=[torch.zeros((1, 77), dtype=torch.int64)])
    assert body.bytes_moved == 2 * 4 * 77 * 512 + 8 * 77


class NamedAlike(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.relu(self.conv(x)) - 1)


def test_an_operation_called_as_a_child_is_counted_too() -> None:
    body = dissect(NamedAlike(), (3, 8, 8), convention="full")
    for depth in (1, 2):
        assert sum(part.macs for part in body.at_depth(depth)) == body.macs


def test_the_roof_knows_products_only() -> None:
    body, full = (dissect(create("resnet20", seed=0), convention=c) for c in ("fvcore", "full"))
    assert bounds(body, ROOF).seconds == bounds(full, ROOF).seconds


def test_a_network_lies_under_the_roof_of_its_own_precision() -> None:
    roof = Roofline({"fp32": 1e9, "bf16": 4e9}, 1e9, 1)
    net = nn.Conv2d(8, 8, 3)
    plain, half = (
        bounds(dissect(n, (8, 16, 16)), roof) for n in (net, copy.deepcopy(net).bfloat16())
    )
    assert (plain.precision, half.precision) == ("fp32", "bf16")
    cast = bounds(dissect(net, (8, 16, 16)), roof, "bf16")
    assert [vars(layer) for layer in cast.layers] == [vars(layer) for layer in half.layers]
    assert half.layers[0].memory == plain.layers[0].memory / 2
    assert half.layers[0].arithmetic == plain.layers[0].arithmetic / 4
    for other in (torch.float16, torch.float64):
        recast = bounds(dissect(nn.Conv2d(8, 8, 3).to(other), (8, 16, 16)), roof, "bf16")
        assert recast.layers[0].memory == pytest.approx(half.layers[0].memory)
    with pytest.raises(VertebraError, match="unknown precision of a roofline 'float64'"):
        bounds(dissect(copy.deepcopy(net).double(), (8, 16, 16)), roof)
