"""The fingerprint notices what is computed, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from vertebra.anatomy import dissect
from vertebra.zoo import create

Shape = tuple[int, ...]
Row = tuple[str, str, Shape, Shape]


def _meta(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return create(name, seed=0, **options)


def test_the_fingerprint_is_of_what_is_computed() -> None:
    prints = {dissect(create("resnet20", seed=seed)).fingerprint for seed in (0, 1)}
    assert len(prints) == 1
    assert prints == {dissect(_meta("resnet20", dropout=0.5)).fingerprint}


def _change_stride(net: nn.Module) -> None:
    net.stem[0].conv.stride = (1, 1)


def _change_padding(net: nn.Module) -> None:
    net.stem[0].conv.padding = (2, 2)


def _change_dilation(net: nn.Module) -> None:
    conv = net.stages[0][0].branch[0].conv
    conv.dilation, conv.padding = (2, 2), (2, 2)


def _change_eps(net: nn.Module) -> None:
    net.stages[2][1].branch[1].norm.eps = 1e-3


def _change_activation(net: nn.Module) -> None:
    net.stages[2][1].act = nn.GELU()


def _change_pooling(net: nn.Module) -> None:
    net.stem[1] = nn.AvgPool2d(3, 2, 1)


def _drop_shortcut(net: nn.Module) -> None:
    net.stages[0][1].shortcut = None


@pytest.mark.parametrize(
    "change",
    [
        _change_stride,
        _change_padding,
        _change_dilation,
        _change_eps,
        _change_activation,
        _change_pooling,
        _drop_shortcut,
    ],
)
def test_the_fingerprint_notices_a_change(change: Callable[[nn.Module], None]) -> None:
    net = _meta("resnet18")
    before = dissect(net).fingerprint
    change(net)
    assert dissect(net).fingerprint != before


def test_the_fingerprint_of_plain_and_residual_differ() -> None:
    names = ("resnet20", "plain20", "resnet32", "lenet5", "lenet5_dense")
    assert len({dissect(_meta(name)).fingerprint for name in names}) == len(names)


def test_names_do_not_count_and_dead_code_does_not() -> None:
    """torchvision's network under its own names computes what ours does."""
    with torch.device("meta"):
        theirs = torchvision.models.resnet18()

    class WithLogging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = _meta("resnet18")

        def forward(self, x: Tensor) -> Tensor:
            out = self.inner(x)
            (out * 2).sum()
            return out

    ours = dissect(_meta("resnet18"))
    assert dissect(WithLogging(), (3, 224, 224)).fingerprint == ours.fingerprint
    body = dissect(theirs, (3, 224, 224))
    assert (body.params, body.macs) == (ours.params, ours.macs)
    assert body.receptive_field == ours.receptive_field
