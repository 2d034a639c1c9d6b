"""One number of a convolution by hand, against PyTorch's own conv2d on the network's own maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy.worked import WorkedConvolution, work_through
from vertebra.core import VertebraError
from vertebra.zoo import create

Pair = tuple[int, int]

CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "plain": {"kernel_size": 3},
    "padded": {"kernel_size": 3, "padding": 1},
    "strided": {"kernel_size": 3, "stride": 2, "padding": 1},
    "dilated": {"kernel_size": 3, "dilation": 2, "padding": 2},
    "grouped": {"kernel_size": 3, "groups": 2, "padding": 1},
    "depthwise": {"kernel_size": 5, "groups": 8, "padding": 2},
    "no bias": {"kernel_size": 3, "bias": False},
    "one by one": {"kernel_size": 1},
    "by axis": {"kernel_size": (1, 7), "stride": (2, 1), "padding": (0, 3), "dilation": (1, 2)},
    "everything": {"kernel_size": 3, "stride": 2, "dilation": 3, "padding": 4, "groups": 4},
    "same, even": {"kernel_size": 4, "padding": "same"},
    "valid": {"kernel_size": 4, "padding": "valid"},
    "reflected": {"kernel_size": 3, "padding": 2, "padding_mode": "reflect"},
    "circular": {"kernel_size": 5, "padding": 2, "padding_mode": "circular", "stride": 2},
}


def network(options: dict[str, Any]) -> nn.Sequential:
    """A convolution whose input is not the image, and whose output is overwritten."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 16, **options),
        nn.ReLU(inplace=True),
    )


def image(size: int = 15) -> Tensor:
    return torch.randn(1, 3, size, size + 2, generator=torch.Generator().manual_seed(1))


def by_torch(net: nn.Sequential, x: Tensor, zeroed: int | None = None) -> Tensor:
    """Output of the second convolution in float64; without one of its input channels."""
    with torch.no_grad():
        maps = net[1](net[0](x)).double()
        if zeroed is not None:
            maps[:, zeroed] = 0
        conv = nn.Conv2d(8, 16, **ARGUMENTS[net]).double()
        conv.load_state_dict(net[2].state_dict())
        return conv(maps)[0]


ARGUMENTS: dict[nn.Module, dict[str, Any]] = {}


def prepared(name: str) -> tuple[nn.Sequential, Tensor]:
    net = network(CONVOLUTIONS[name])
    ARGUMENTS[net] = CONVOLUTIONS[name]
    return net, image()


def places(output: Tensor) -> list[Pair]:
    """Corners, where padding is, and the middle."""
    rows, columns = output.shape[1:]
    return [(0, 0), (0, columns - 1), (rows - 1, columns - 1), (rows // 2, columns // 2)]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_result_is_that_of_conv2d(name: str) -> None:
    net, x = prepared(name)
    output = by_torch(net, x)
    for channel in (0, 5, 15):
        for row, column in places(output):
            worked = work_through(net, x, "2", (row, column), channel)
            expected = float(output[channel, row, column])
            assert worked.result == pytest.approx(expected, rel=1e-9, abs=1e-12)
            assert worked.network == pytest.approx(expected, rel=1e-4, abs=1e-6)
            assert worked.position == (row, column)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_each_channel_contributes_what_goes_missing_without_it(name: str) -> None:
    net, x = prepared(name)
    whole = by_torch(net, x)
    row, column = places(whole)[3]
    for channel in (0, 9):
        worked = work_through(net, x, "2", (row, column), channel)
        alone = [
            float(whole[channel, row, column] - by_torch(net, x, c)[channel, row, column])
            for c in range(8)
        ]
        contributes = [c for c in range(8) if alone[c] != 0]
        assert set(contributes) <= set(worked.channels)
        expected = [alone[c] for c in worked.channels]
        np.testing.assert_allclose(worked.sums, expected, rtol=1e-7, atol=1e-12)
        order = [abs(float(worked.sums[c])) for c in worked.strongest]
        assert order == sorted(order, reverse=True)
        assert sorted(worked.strongest) == list(range(len(worked.channels)))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_patch_and_window_are_what_lies_under_the_kernel(name: str) -> None:
    net, x = prepared(name)
    with torch.no_grad():
        maps = net[1](net[0](x))[0]
    for place in places(by_torch(net, x)):
        worked = work_through(net, x, "2", place, 3)
        (top, bottom), (left, right) = worked.window
        height, width = worked.kernel_size
        rows = [top + i * worked.dilation[0] for i in range(height)]
        columns = [left + j * worked.dilation[1] for j in range(width)]
        assert (rows[-1], columns[-1]) == (bottom, right)
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                inside = 0 <= row < maps.shape[1] and 0 <= column < maps.shape[2]
                assert worked.inside[i, j] == inside
                under = worked.patches[:, i, j]
                if inside:
                    expected = maps[list(worked.channels), row, column].double().numpy()
                    np.testing.assert_array_equal(under, expected)
                elif worked.padding_mode == "zeros":
                    assert not under.any()


def test_the_default_place_is_the_strongest() -> None:
    net, x = prepared("padded")
    output = by_torch(net, x)[4]
    worked = work_through(net, x, "2", channel=4)
    assert float(output[worked.position]) == float(output.max())
    np.testing.assert_allclose(worked.output_map, output, rtol=1e-4, atol=1e-5)
    strongest = worked.channels[worked.strongest[0]]
    with torch.no_grad():
        maps = net[1](net[0](x))[0]
    np.testing.assert_array_equal(worked.input_map, maps[strongest].double().numpy())


def test_only_the_seen_part_of_the_image_matters() -> None:
    net, x = prepared("strided")
    worked = work_through(net, x, "2", (3, 4), 2)
    assert worked.seen == ((4, 8), (6, 10))
    (top, bottom), (left, right) = worked.seen
    changed = torch.full_like(x, 7.0)
    changed[..., top : bottom + 1, left : right + 1] = x[..., top : bottom + 1, left : right + 1]
    assert work_through(net, changed, "2", (3, 4), 2).result == worked.result
    for row, column in ((top, left), (bottom, right)):
        touched = x.clone()
        touched[..., row, column] += 5
        assert work_through(net, touched, "2", (3, 4), 2).result != worked.result


def test_real_networks() -> None:
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for name, layer in (
        ("resnet18", "stages.1.0.branch.0.conv"),
        ("efficientnet_b0", "stages.2.1.depthwise.conv"),
        ("efficientnet_b0", "stages.2.1.squeeze.reduce"),
    ):
        worked = work_through(create(name, seed=0), x, layer, channel=3)
        assert worked.result == pytest.approx(worked.network, rel=1e-3)


def test_the_network_stays_as_it_was() -> None:
    net, x = prepared("plain")
    net.train()
    net[0].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    given = x.clone()
    work_through(net, x, "2")
    assert [module.training for module in net] == [False, True, True, True]
    assert all(not module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(x, given)


def test_the_last_run_counts() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x))

    net, x = Twice(), image()
    worked = work_through(net, x, "conv", (0, 0), 1)
    with torch.no_grad():
        assert worked.network == pytest.approx(float(net(x)[0, 1, 0, 0]), rel=1e-6)
    assert worked.seen == ((0, 4), (0, 4))


class Standardized(nn.Conv2d):
    """A convolution that does not use its weight as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


REFUSED: dict[str, tuple[nn.Module, dict[str, Any], str]] = {
    "typo": (network(CONVOLUTIONS["plain"]), {"layer": "22"}, "unknown layer '22'; did you mean"),
    "no convolution": (
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()),
        {"layer": "1"},
        "'1' is ReLU, not an nn.Conv2d; did you mean 0",
    ),
    "a container": (
        nn.Sequential(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 1))),
        {"layer": "0"},
        "did you mean 0.1",
    ),
    "none at all": (nn.Sequential(nn.Flatten()), {"layer": "0"}, "has no nn.Conv2d"),
    "row": (
        network(CONVOLUTIONS["plain"]),
        {"layer": "2", "position": (13, 0)},
        "position 13,0 lies outside .* rows are 0 to 12 and columns 0 to 14",
    ),
    "negative": (network(CONVOLUTIONS["plain"]), {"layer": "2", "position": (0, -1)}, "outside"),
    "channel": (network(CONVOLUTIONS["plain"]), {"layer": "2", "channel": 16}, "0 to 15, no 16"),
    "does not run": (Unused(), {"layer": "spare"}, "does not run"),
    "a subclass": (
        nn.Sequential(Standardized(3, 4, 3)),
        {"layer": "0"},
        "computes something else than its weight",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name: str) -> None:
    net, arguments, words = REFUSED[name]
    with pytest.raises(VertebraError, match=words) as caught:
        work_through(net, image(), **arguments)
    assert "\n" not in str(caught.value)


def test_only_one_image() -> None:
    net, x = prepared("plain")
    with pytest.raises(VertebraError, match=r"one, \(1, C, H, W\)"):
        work_through(net, torch.cat([x, x]), "2")
    with pytest.raises(VertebraError, match="cannot run on an input of shape"):
        work_through(net, x[:, :2], "2")


def test_a_gray_image_and_a_flat_one() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3))
    worked: WorkedConvolution = work_through(net, torch.zeros(1, 1, 5, 6), "0")
    assert worked.image.shape == (5, 6, 3)
    assert not worked.image.any()
