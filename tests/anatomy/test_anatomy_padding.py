"""Kernel taps that meet only padding, against the gradients that autograd gives them."""

import itertools

import pytest
import torch
from torch import nn

from vertebra.anatomy import dissect, taps_in_padding
from vertebra.zoo import create


def has_dead_tap(conv: nn.Conv2d, height: int, width: int) -> bool:
    """Whether a weight's gradient is zero although input and output gradient are positive."""
    conv = conv.double()
    image = torch.rand(1, conv.in_channels, height, width, dtype=torch.float64) + 1
    conv(image).sum().backward()
    assert conv.weight.grad is not None
    return bool((conv.weight.grad == 0).any())


CASES = [
    case
    for case in itertools.product((1, 2, 3, 5, 7), (1, 2, 4), (0, 1, 2, 3), (1, 2), (1, 2, 3, 4, 6))
    if case[0] > case[2] and case[4] + 2 * case[2] >= case[3] * (case[0] - 1) + 1
]


@pytest.mark.parametrize("width", [None, 9])
def test_taps_without_gradient_are_those_in_padding(width: int | None) -> None:
    found = set()
    for kernel, stride, padding, dilation, size in CASES:
        conv = nn.Conv2d(2, 3, kernel, stride, padding, dilation)
        other = max(width, dilation * (kernel - 1) + 1) if width else size
        named = list(taps_in_padding(dissect(conv, (2, size, other)).graph))
        assert bool(named) == has_dead_tap(conv, size, other), (kernel, stride, padding, dilation)
        found.add(bool(named))
    assert found == {True, False}


def test_one_value_for_all_axes_and_groups_and_transposed() -> None:
    grouped = nn.Conv2d(4, 4, 3, padding=1, groups=4)
    assert list(taps_in_padding(dissect(grouped, (4, 1, 1)).graph))
    line = nn.Conv1d(4, 4, 3, padding=1)
    assert list(taps_in_padding(dissect(line, (4, 1)).graph))
    assert not list(taps_in_padding(dissect(line, (4, 2)).graph))
    transposed = nn.ConvTranspose2d(4, 4, 3, padding=1)
    assert not list(taps_in_padding(dissect(transposed, (4, 1, 1)).graph))


@pytest.mark.parametrize(("size", "dead"), [(224, False), (64, False), (48, False), (32, True)])
def test_resnet18_has_them_on_small_images(size: int, dead: bool) -> None:
    with torch.device("meta"):
        net = create("resnet18")
    modules = [node.module for node in taps_in_padding(dissect(net, (3, size, size)).graph)]
    assert bool(modules) == dead
    assert all(name.startswith("stages.3") for name in modules)
