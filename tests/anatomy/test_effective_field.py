"""The effective receptive field against what linear networks are known to have."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vertebra.anatomy.effective import THRESHOLD, effective_field
from vertebra.core import VertebraError
from vertebra.zoo import create


def averaging(layers: int, channels: int = 1, padding: int = 1) -> nn.Sequential:
    """3x3 averages one after the other."""
    net = nn.Sequential(
        *(
            nn.Conv2d(1 if place == 0 else channels, channels, 3, padding=padding, bias=False)
            for place in range(layers)
        )
    )
    for conv in net:
        nn.init.constant_(conv.weight, 1 / (9 * conv.in_channels))
    return net


def repeated(kernel: NDArray[np.float64], times: int) -> NDArray[np.float64]:
    """A line convolved with itself."""
    made = np.ones(1)
    for _ in range(times):
        made = np.convolve(made, kernel)
    return made


def placed(field: NDArray[np.float64], size: tuple[int, int], middle: tuple[int, int]) -> Any:
    """A field of odd extents on an image, its middle at a pixel."""
    image = np.zeros(size)
    rows, columns = field.shape
    top, left = middle[0] - rows // 2, middle[1] - columns // 2
    image[top : top + rows, left : left + columns] = field
    return image / image.max()


@pytest.mark.parametrize("layers", [1, 2, 5, 12])
@pytest.mark.parametrize("channels", [1, 3])
def test_averages_give_repeated_convolutions(layers: int, channels: int) -> None:
    """Luo et al., section 2.2: uniform weights convolve with themselves, near a Gaussian."""
    line = repeated(np.ones(3) / 3, layers)
    effective = effective_field(averaging(layers, channels), (1, 41, 44), samples=2)
    assert effective.position == (20, 22)
    expected = placed(np.outer(line, line), (41, 44), (20, 22))
    np.testing.assert_allclose(effective.values, expected, rtol=1e-5, atol=1e-9)
    assert effective.pixels == int((expected > THRESHOLD).sum())
    assert effective.area == (2 * layers + 1) ** 2
    assert effective.share == effective.pixels / (2 * layers + 1) ** 2


def test_many_averages_are_a_gaussian() -> None:
    """Variance 2/3 a layer and axis; 4.55 % of the top is at 2.486 deviations."""
    layers = 40
    effective = effective_field(averaging(layers), (1, 101, 101), samples=1)
    variance = layers * 2 / 3
    gaussian = np.exp(-((np.arange(101) - 50) ** 2) / (2 * variance))
    np.testing.assert_allclose(effective.values, np.outer(gaussian, gaussian), atol=0.01)
    assert pytest.approx(0.0455) == THRESHOLD
    expected = math.sqrt(math.pi * 2 * variance * math.log(1 / 0.0455))
    assert effective.side == pytest.approx(expected, rel=0.03)


def test_it_grows_with_the_root_of_the_depth() -> None:
    """Luo et al., figure 2: size by the root of the depth, share by one over it."""
    few, many = (effective_field(averaging(n), (1, 121, 121), samples=1) for n in (12, 48))
    assert many.side / few.side == pytest.approx(2, rel=0.05)
    assert many.share < few.share


def test_sign_stride_and_padding() -> None:
    net = nn.Sequential(nn.Conv2d(2, 1, 5, stride=3, padding=1, bias=False))
    weight = net[0].weight.detach().double()[0]
    effective = effective_field(net, (2, 20, 26), samples=1)
    assert (effective.grid, effective.position) == ((6, 8), (3, 4))
    expected = np.zeros((20, 26))
    expected[8:13, 11:16] = weight.abs().sum(0).numpy()
    np.testing.assert_allclose(effective.values, expected / expected.max(), rtol=1e-5)
    assert effective.box == ((8, 12), (11, 15))


def test_many_outputs_are_summed_with_signs() -> None:
    """Channels that sum to a constant, as a layer norm's: all +1 would give no gradient."""

    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return x - x.mean(1, keepdim=True)

    effective = effective_field(Centred(), (3, 9, 9), samples=4)
    assert effective.values[3:6, 3:6].min() > 0.01
    assert np.count_nonzero(effective.values) == 9


@pytest.mark.parametrize("layer", ["stem", "stages.0", "stages.1", "stages.1.0.branch.0.conv"])
def test_it_lies_within_the_theoretical_field(layer: str) -> None:
    net = create("resnet20", seed=0)
    effective = effective_field(net, (3, 56, 48), layer=layer, samples=2)
    (top, bottom), (left, right) = effective.box
    assert effective.area < effective.values.size
    outside = effective.values.copy()
    outside[top : bottom + 1, left : right + 1] = 0
    assert not outside.any()
    # And it reaches the theoretical field's edges: neither is too large nor elsewhere.
    inner = effective.values[top : bottom + 1, left : right + 1]
    assert inner[0].any()
    assert inner[-1].any()
    assert inner[:, 0].any()
    assert inner[:, -1].any()
    assert inner.max() == 1
    assert 0 < effective.share <= 1


def test_a_backbone_is_asked_for_its_last_map() -> None:
    net = create("resnet20", seed=0)
    whole = effective_field(net, samples=2)
    same = effective_field(net, layer="stages.2", samples=2)
    assert (whole.layer, same.layer) == ("", "stages.2")
    assert whole.grid == (8, 8)
    np.testing.assert_allclose(whole.values, same.values, rtol=1e-5)


class Classifier(nn.Module):
    """No backbone of ours; one activation for all layers, as torchvision has it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.second(self.act(self.first(x))))
        return self.fc(self.pool(x).flatten(1))


def test_other_modules_are_asked_for_the_last_map_before_pooling() -> None:
    torch.manual_seed(0)
    effective = effective_field(Classifier(), (3, 15, 15))
    assert effective.layer == "act"
    assert effective.grid == (15, 15)
    assert effective.box == ((5, 9), (5, 9))
    assert effective.values[5].any()


def test_what_follows_in_place_does_not_count() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(inplace=True))
    nn.init.constant_(net[0].bias, -1e3)
    effective = effective_field(net, (3, 9, 9), layer="0", samples=1)
    assert np.count_nonzero(effective.values) == 9
    with pytest.raises(VertebraError, match="no gradient of layer '1' arrives"):
        effective_field(net, (3, 9, 9), layer="1", samples=1)


class Tokens(nn.Module):
    """Patches behind a class token, as in a vision transformer, or with channels last."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.patches, self.last = nn.Conv2d(3, 6, 4, 4), last
        self.out = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        if self.last:
            return self.out(x.permute(0, 2, 3, 1)).mean((1, 2))
        x = x.flatten(2).transpose(1, 2)
        return self.out(torch.cat([x.new_zeros(1, 1, 6), x], 1))[:, 0]


@pytest.mark.parametrize("last", [False, True])
def test_tokens_and_channels_last(last: bool) -> None:
    effective = effective_field(Tokens(last), (3, 20, 28), layer="out", samples=1)
    assert (effective.grid, effective.position) == ((5, 7), (2, 3))
    seen = np.argwhere(effective.values)
    assert (seen.min(0).tolist(), seen.max(0).tolist()) == ([8, 12], [11, 15])


def test_the_network_stays_as_it_was() -> None:
    net = create("resnet20", seed=0)
    net.train()
    net.stages[0].eval()
    modes = [module.training for module in net.modules()]
    wants = [p.requires_grad_(place % 2 == 0) for place, p in enumerate(net.parameters())]
    for parameter in wants[:4:2]:
        parameter.grad = torch.ones_like(parameter)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        effective_field(net, layer="stages.1", samples=1)
    assert [module.training for module in net.modules()] == modes
    assert all(not module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [p.requires_grad for p in net.parameters()] == [
        place % 2 == 0 for place in range(len(wants))
    ]
    assert all(bool((p.grad == 1).all()) for p in wants[:4:2])
    assert all(p.grad is None for p in wants[4:])


def test_the_seed_decides() -> None:
    net = create("resnet20", seed=0)
    torch.manual_seed(1)
    one = effective_field(net, samples=2, seed=3)
    torch.manual_seed(2)
    np.testing.assert_array_equal(one.values, effective_field(net, samples=2, seed=3).values)
    assert not np.array_equal(one.values, effective_field(net, samples=2, seed=4).values)
    assert not np.array_equal(one.values, effective_field(net, samples=3, seed=3).values)


def test_refused_in_one_line() -> None:
    net = Classifier()
    with torch.device("meta"):
        meta = create("resnet20")
    cut = nn.Sequential(nn.Conv2d(3, 1, 3), nn.Threshold(1e9, 0.0))
    for given, arguments, words in (
        (net, {"layer": "secnd"}, "unknown layer 'secnd'; did you mean second"),
        (net, {"layer": "fc"}, r"layer 'fc' gives \(1, 2\), which is no map"),
        (net, {"samples": 0}, "samples must be 1 or more"),
        (net, {"input_size": None}, "does not say its input size"),
        (nn.Sequential(nn.Flatten()), {}, "Sequential has no layer that gives a map"),
        (cut, {}, "no gradient of the last map arrives"),
        (meta, {}, "weights with numbers"),
    ):
        with pytest.raises(VertebraError, match=words) as caught:
            effective_field(given, **{"input_size": (3, 15, 15), **arguments})
        assert "\n" not in str(caught.value)
    assert all(not module._forward_hooks for module in net.modules())
