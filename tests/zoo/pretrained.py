"""What the tests of weights share."""

import torch
from torch import Tensor, nn


def images(channels: int = 3) -> Tensor:
    return torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(0))


def redrawn(net: nn.Module) -> nn.Module:
    """Statistics that differ from their start, so that a lost one shows."""
    torch.manual_seed(0)
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 3, 64, 64))
    return net.eval()


def equal(one: nn.Module, other: nn.Module, x: Tensor | None = None) -> bool:
    x = images() if x is None else x
    with torch.no_grad():
        return torch.allclose(one.eval()(x), other.eval()(x), atol=1e-5)
