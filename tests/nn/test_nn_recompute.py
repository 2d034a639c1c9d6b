"""Computing a block again must change no number, compiled or not."""

import copy

import pytest
import torch
from torch import Tensor, nn

from vertebra.nn import recompute


class Net(nn.Module):
    """A block with a norm, recomputed or not, whole or by a method."""

    def __init__(self, block: nn.Module, how: str) -> None:
        super().__init__()
        self.block, self.how = block, how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "whole":
            return recompute(self.block, x)
        if self.how == "part":
            return recompute(self, x, part=self.run)
        return self.block(x)

    def run(self, x: Tensor) -> Tensor:
        return self.block(x)


def _trained(net: nn.Module, compiled: bool) -> list[Tensor]:
    """Output, gradients and buffers of two steps in training mode."""
    run = torch.compile(net, fullgraph=True, backend="aot_eager") if compiled else net
    generator = torch.Generator().manual_seed(0)
    results = []
    for _ in range(2):
        out = run(torch.randn(4, 3, 6, 6, dtype=torch.float64, generator=generator))
        out.square().sum().backward()
        results.append(out.detach())
    gradients = [parameter.grad for parameter in net.parameters()]
    return [*results, *gradients, *(buffer.double() for buffer in net.buffers())]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("how", ["whole", "part"])
def test_a_recomputed_block_is_a_plain_one(how: str, compiled: bool) -> None:
    block = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    plain, again = (Net(copy.deepcopy(block.double()), how) for how in ("plain", how))
    torch.testing.assert_close(
        _trained(again, compiled), _trained(plain, compiled=False), atol=1e-12, rtol=1e-12
    )
