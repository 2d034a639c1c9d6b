"""What ResNets have that torchvision's lack: strides as in the paper, squeeze-and-excite."""

from collections.abc import Callable

import pytest
import torch
from oracles.resnet import ORACLES
from parity import assert_parity, make_pair
from torch import nn

from vertebra.anatomy import dissect
from vertebra.nn import Backbone
from vertebra.zoo import create

SE_ORACLE = next(oracle for oracle in ORACLES if oracle.ours == "seresnet50")


def test_with_the_papers_strides_come_the_papers_macs() -> None:
    """3.8e9 in table 1 of arXiv:1512.03385, which cuts digits off."""
    assert dissect(create("resnet50_v1", seed=0)).macs // 10**8 == 38


def test_seresnet50_has_the_papers_parameters() -> None:
    """About 2.5 million more than ResNet-50 (arXiv:1709.01507, section 4)."""
    squeezed, plain = (
        sum(p.numel() for p in create(name, seed=0).parameters())
        for name in ("seresnet50", "resnet50")
    )
    # Equation 5: two matrices of C^2 / r in each block, and what the equation leaves out, biases.
    blocks = {256: 3, 512: 4, 1024: 6, 2048: 3}
    extra = sum(count * (2 * c * c // 16 + c // 16 + c) for c, count in blocks.items())
    assert squeezed - plain == extra
    assert f"{extra / 1e6:.1f}" == "2.5"


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "seresnet50"])
def test_zero_init_starts_each_block_as_its_shortcut(name: str) -> None:
    net = create(name, seed=0, zero_init=True).eval()
    for stage, info in zip(net.stages, net.stage_info, strict=True):
        x = torch.rand(1, info.channels, 3, 3)
        with torch.no_grad():
            assert torch.equal(stage[1](x), x)


def _hard_gate(net: Backbone) -> None:
    net.stages[1][1].branch[3].gate = nn.Hardsigmoid()


def _silu(net: Backbone) -> None:
    net.stages[1][1].branch[3].act = nn.SiLU()


def _left_out(net: Backbone) -> None:
    net.stages[1][1].branch[3] = nn.Identity()


def _before_the_last_norm(net: Backbone) -> None:
    branch = net.stages[1][1].branch
    branch[2].conv, branch[3] = nn.Sequential(branch[2].conv, branch[3]), nn.Identity()


@pytest.mark.parametrize("mutate", [_hard_gate, _silu, _left_out, _before_the_last_norm])
def test_a_wrong_squeeze_is_noticed(mutate: Callable[[Backbone], None]) -> None:
    pair = make_pair(SE_ORACLE)
    mutate(pair.ours)
    # what moved keeps its weights, and the state dict its names
    with pytest.raises(AssertionError, match="off by"):
        assert_parity(pair)
