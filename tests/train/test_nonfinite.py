"""Who is named when the numbers go wrong."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from vertebra.train.nonfinite import spoilt_before, spoilt_by


class Logarithm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.log()


class RootOfNothing(nn.Module):
    """Finite forward; the gradient of the root of zero is infinite, and times zero it is NaN."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 0).sqrt() * x


def net_with(middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 4), nn.BatchNorm1d(4), middle, nn.Linear(4, 4), nn.Linear(4, 2)
    )


def named(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> str:
    return spoilt_before(net, optimizer, x) or spoilt_by(net, lambda: net(x))


X = torch.linspace(-1, 1, 24).view(6, 4)


def test_the_images() -> None:
    net = net_with(nn.ReLU())
    broken = X.clone()
    broken[0, 0] = torch.inf
    assert "images themselves" in named(net, SGD(net.parameters(), lr=0.1), broken)


def test_a_layer_of_finite_inputs() -> None:
    net = net_with(Logarithm())
    found = named(net, SGD(net.parameters(), lr=0.1), X)
    assert "the output of 2 (Logarithm)" in found
    assert "finite numbers up to" in found


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_a_gradient_is_remembered_by_the_optimiser(optimizer: type) -> None:
    net = net_with(RootOfNothing())
    options = {"momentum": 0.9} if optimizer is SGD else {}
    made = optimizer(net.parameters(), lr=0.1, **options)
    loss = net(X).square().mean()
    assert torch.isfinite(loss)
    loss.backward()
    made.step()
    found = named(net, made, X)
    assert "the gradient of 1.bias in the step before" in found, "the layer before the root"
    assert "4 of 8 weights" in found


def test_an_update_that_overflows() -> None:
    net = net_with(nn.ReLU())
    made = SGD(net.parameters(), lr=1e38)
    (net(X).square().mean() * 1e4).backward()
    made.step()
    assert "the update of the step before left the weights" in named(net, made, X)


def test_only_the_loss() -> None:
    net = net_with(nn.ReLU())
    assert "every layer's output is finite" in named(net, SGD(net.parameters(), lr=0.1), X)
