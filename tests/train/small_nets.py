"""A network of two layers, and a few steps of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)
    )


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 5) -> list[Tensor]:
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(torch.randn(6, 3, 4, 4)), torch.arange(6) % 5)
        loss.backward()
        optimizer.step()
    return [p.detach().clone() for p in net.parameters()]
