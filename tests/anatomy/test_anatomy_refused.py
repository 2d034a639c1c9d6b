"""What cannot be taken apart is refused in one line that says what could."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from counting import Run
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import dissect
from vertebra.core import VertebraError
from vertebra.zoo import create


class DataDependent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x


def _refused(net: nn.Module, size: Any) -> str:
    with pytest.raises(VertebraError) as caught:
        dissect(net, size)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_a_choice_that_needs_numbers_is_refused() -> None:
    assert "DataDependent cannot run" in _refused(DataDependent(), (3, 4, 4))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", (1, 64, 64)),
        ("resnet18", (3, 64)),
        ("resnet18", (3,)),
        ("resnet18", ()),
        ("resnet18", (3, 0, 0)),
        ("resnet18", (3, -1, 64)),
        ("resnet18", (3, 64, 64, 64)),
        ("resnet18", 224),
        ("resnet18", ("a", "b", "c")),
        ("lenet5", (1, 28, 28)),
        ("lenet5", (1, 8, 8)),
        ("lenet5", (3, 32, 32)),
    ],
)
def test_an_input_that_does_not_fit_is_refused_in_one_line(name: str, size: Any) -> None:
    with pytest.raises((RuntimeError, VertebraError, TypeError, ValueError, IndexError)):
        create(name, seed=0)(torch.zeros(1, *size))  # the real network refuses it too
    _refused(create(name, seed=0), size)


class Missing(nn.Module):
    """Fails by itself, at length."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error("first line\nsecond line")


@pytest.mark.parametrize("error", [ValueError, RuntimeError, AssertionError, IndexError])
def test_a_forward_that_fails_is_an_error_in_one_line(error: type[Exception]) -> None:
    assert "first line" in _refused(Missing(error), (3, 4, 4))


IMPOSSIBLE: dict[str, nn.Module] = {
    "max pool padded too far": nn.MaxPool2d(2, padding=2),
    "mean pool padded too far": nn.AvgPool2d(2, padding=2),
    "batch norm of other channels": nn.BatchNorm2d(4),
    "the same without scale": nn.BatchNorm2d(4, affine=False),
    "layer norm of other width": nn.LayerNorm(7),
    "linear of other width": nn.Linear(7, 2),
    "softmax over no axis": nn.Softmax(dim=5),
    "join along no axis": Run(lambda _, x: torch.cat([x, x], dim=4)),
    "mean over no axis": Run(lambda _, x: x.mean(7)),
    "mean over an axis twice": Run(lambda _, x: x.mean((1, 1))),
    "grow in place": Run(lambda _, x: x.clone().add_(torch.ones(4, 3, 8, 8))),
    "bmm of matrices": Run(lambda _, x: torch.bmm(x[0, 0], x[0, 0])),
    "mm of batches": Run(lambda _, x: torch.mm(x[0], x[0])),
    "addmm, bias too long": Run(lambda _, x: torch.addmm(torch.ones(5), x[0, 0], x[0, 0])),
    "convolution, bias too long": Run(
        lambda _, x: F.conv2d(x, torch.ones(3, 1, 3, 3), torch.ones(5), groups=3)
    ),
    "four maps in three groups": Run(lambda _, x: F.conv2d(x, torch.ones(4, 1, 3, 3), groups=3)),
}


@pytest.mark.parametrize("net", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_run_cannot_be_dissected(net: nn.Module) -> None:
    """A shape for something that PyTorch refuses would be worse than an error."""
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        net.eval()(torch.zeros(1, 3, 8, 8))
    _refused(net, (3, 8, 8))


def test_a_module_that_does_not_say_its_input_needs_one() -> None:
    assert "give input_size" in _refused(nn.Conv2d(3, 4, 3), None)


def test_what_is_no_network_is_refused() -> None:
    unusable: Any = "resnet50"
    with pytest.raises(VertebraError, match=r"got str 'resnet50'; zoo.create\('resnet50'\) may"):
        dissect(unusable)


class Leaves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise SystemExit(7)


def test_a_forward_that_leaves_the_program_is_an_error() -> None:
    with pytest.raises(VertebraError, match="Leaves cannot run on an input of shape"):
        dissect(Leaves(), (3, 4, 4))


def _scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        return torch.jit.script(nn.Conv2d(3, 4, 1))


UNUSABLE: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "scripted": (_scripted, "give the module it was made from"),
    "wrapped": (lambda: nn.DataParallel(nn.Conv2d(3, 4, 1)), "give its .module"),
    "lazy": (
        lambda: nn.Sequential(nn.LazyConv2d(4, 1)),
        "0.weight has no size yet; run Sequential",
    ),
}


@pytest.mark.parametrize(("make", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_looked_into_says_what_can(
    make: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(VertebraError, match=message):
        dissect(make(), (3, 8, 8))
