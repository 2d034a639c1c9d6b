"""Network in network, against a forward and tables written down a second time.

Lin, Chen and Yan, arXiv:1312.4400, and the authors' Caffe release. The reference uses plain
functions on a state dict: no module of ours runs in it.
"""

from typing import Any

import pytest
import torch
from parity import MAP_TOLERANCE, assert_close, redraw
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import dissect
from vertebra.nn import Backbone
from vertebra.zoo import create

Weights = dict[str, Tensor]

# A line of the release's file each: ours, name there, maps, numbers in a kernel, height of the
# output, and the deviation of the initial weights.
CIFAR = (
    ("stages.0.0.conv", "conv1", 192, 5 * 5 * 3, 32, 0.05),
    ("stages.0.1.conv", "cccp1", 160, 192, 32, 0.05),
    ("stages.0.2.conv", "cccp2", 96, 160, 32, 0.05),
    ("stages.1.2.conv", "conv2", 192, 5 * 5 * 96, 16, 0.05),
    ("stages.1.3.conv", "cccp3", 192, 192, 16, 0.05),
    ("stages.1.4.conv", "cccp4", 192, 192, 16, 0.05),
    ("stages.2.2.conv", "conv3", 192, 3 * 3 * 192, 8, 0.05),
    ("stages.2.3.conv", "cccp5", 192, 192, 8, 0.05),
    ("head.fc", "cccp6", 10, 192, 8, 0.05),
)
IMAGENET = (
    ("stages.0.0.conv", "conv1", 96, 11 * 11 * 3, 54, 0.01),
    ("stages.0.1.conv", "cccp1", 96, 96, 54, 0.05),
    ("stages.0.2.conv", "cccp2", 96, 96, 54, 0.05),
    ("stages.1.1.conv", "conv2", 256, 5 * 5 * 96, 27, 0.05),
    ("stages.1.2.conv", "cccp3", 256, 256, 27, 0.05),
    ("stages.1.3.conv", "cccp4", 256, 256, 27, 0.05),
    ("stages.2.1.conv", "conv3", 384, 3 * 3 * 256, 13, 0.01),
    ("stages.2.2.conv", "cccp5", 384, 384, 13, 0.05),
    ("stages.2.3.conv", "cccp6", 384, 384, 13, 0.05),
    ("stages.3.2.conv", "conv4-1024", 1024, 3 * 3 * 384, 6, 0.05),
    ("stages.3.3.conv", "cccp7-1024", 1024, 1024, 6, 0.05),
    ("head.fc", "cccp8-1024", 1000, 1024, 6, 0.01),
)
TABLES = {"nin": CIFAR, "nin_imagenet": IMAGENET}


def _redrawn(name: str) -> tuple[Backbone, Weights]:
    net = create(name, seed=0).double()
    redraw(net)
    return net.eval(), net.state_dict()


def _images(size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, size, size, dtype=torch.float64, generator=generator)


def _caffe_pool(x: Tensor, kind: str) -> Tensor:
    """3x3 with stride 2; Caffe counts windows that reach over the edge and takes what is inside."""
    reduce = {"max": lambda window: window.amax((2, 3)), "mean": lambda window: window.mean((2, 3))}

    def starts(size: int) -> range:
        count = -((3 - size) // 2) + 1
        return range(0, 2 * count, 2)

    rows = [
        torch.stack([reduce[kind](x[:, :, i : i + 3, j : j + 3]) for j in starts(x.shape[3])], -1)
        for i in starts(x.shape[2])
    ]
    return torch.stack(rows, -2)


def _reference(name: str, weights: Weights, x: Tensor) -> list[Tensor]:
    """The map before each pooling, that before the classifier pooled, and the logits."""

    def conv(layer: str, x: Tensor, **geometry: int) -> Tensor:
        path = next(row[0] for row in TABLES[name] if row[1] == layer)
        return F.relu(F.conv2d(x, weights[f"{path}.weight"], weights[f"{path}.bias"], **geometry))

    imagenet = name == "nin_imagenet"
    x = conv("conv1", x, stride=4) if imagenet else conv("conv1", x, padding=2)
    maps = [conv("cccp2", conv("cccp1", x))]
    x = conv("conv2", _caffe_pool(maps[-1], "max"), padding=2)
    maps.append(conv("cccp4", conv("cccp3", x)))
    x = _caffe_pool(maps[-1], "max" if imagenet else "mean")
    maps.append(conv("cccp5", conv("conv3", x, padding=1)))
    last = "cccp6"
    if imagenet:
        maps[-1] = conv("cccp6", maps[-1])
        x = conv("conv4-1024", _caffe_pool(maps[-1], "max"), padding=1)
        maps.append(conv("cccp7-1024", x))
        last = "cccp8-1024"
    return [*maps, maps[-1].mean((2, 3)), conv(last, maps[-1]).mean((2, 3))]


def _compare(name: str, net: Backbone, weights: Weights, x: Tensor) -> None:
    with torch.no_grad():
        ours = [*net.features(x), net.embed(x), net(x)]
        expected = _reference(name, weights, x)
    for index, (our, their) in enumerate(zip(ours, expected, strict=True)):
        assert_close(f"{name} {index}", our, their, MAP_TOLERANCE)


@pytest.mark.parametrize(
    ("name", "size"), [("nin", 32), ("nin", 27), ("nin_imagenet", 224), ("nin_imagenet", 99)]
)
def test_the_authors_networks(name: str, size: int) -> None:
    _compare(name, *_redrawn(name), _images(size))


def _pool_rounding(net: Backbone) -> None:
    net.stages[2][0].ceil_mode = False


def _maximum_in_the_second_pooling(net: Backbone) -> None:
    """As the paper has it."""
    net.stages[2][0] = nn.MaxPool2d(3, 2, ceil_mode=True)


def _pool_without_overlap(net: Backbone) -> None:
    net.stages[1][0] = nn.MaxPool2d(2)


def _padded_pool(net: Backbone) -> None:
    """A common substitute for rounding up, with windows in other places."""
    net.stages[1][0] = nn.MaxPool2d(3, 2, padding=1)


def _linear_classifier(net: Backbone) -> None:
    net.head.act = nn.Identity()


def _linear_perceptron(net: Backbone) -> None:
    net.stages[1][3].act = nn.Identity()


@pytest.mark.parametrize(
    "mutate",
    [
        _pool_rounding,
        _maximum_in_the_second_pooling,
        _pool_without_overlap,
        _padded_pool,
        _linear_classifier,
        _linear_perceptron,
    ],
)
def test_one_wrong_detail_is_noticed(mutate: Any) -> None:
    net, weights = _redrawn("nin")
    mutate(net)
    with pytest.raises(AssertionError):
        _compare("nin", net, weights, _images(32))


@pytest.mark.parametrize(("name", "params"), [("nin", 966_986), ("nin_imagenet", 7_595_176)])
def test_the_releases_table(name: str, params: int) -> None:
    with torch.device("meta"):
        net = create(name, seed=0)
    body = dissect(net)
    found = [
        (layer.name, layer.output_shape, layer.params, layer.macs)
        for layer in body.layers
        if layer.params
    ]
    assert found == [
        (path, (1, maps, side, side), maps * (size + 1), maps * size * side * side)
        for path, _, maps, size, side, _ in TABLES[name]
    ]
    assert body.params == params


@pytest.mark.parametrize("name", TABLES)
def test_initial_numbers_are_the_releases(name: str) -> None:
    net = create(name, seed=0)
    for path, _, _, _, _, std in TABLES[name]:
        weight, bias = (net.get_parameter(f"{path}.{part}") for part in ("weight", "bias"))
        assert abs(weight.std().item() / std - 1) < 0.06, path
        assert abs(weight.mean().item()) < 0.06 * std, path
        assert not bias.any(), path


@pytest.mark.parametrize(
    ("name", "places"),
    [("nin", ["stages.1.1", "stages.2.1"]), ("nin_imagenet", ["stages.3.1"])],
)
@pytest.mark.parametrize("rate", [None, 0.2])
def test_dropout_follows_the_pooling(name: str, places: list[str], rate: float | None) -> None:
    """The one in the head is only for what comes later: nothing published drops there."""
    with torch.device("meta"):
        net = create(name, seed=0, dropout=rate)
    rates = {path: m.p for path, m in net.named_modules() if isinstance(m, nn.Dropout)}
    assert rates == {**dict.fromkeys(places, rate or 0.5), "head.dropout": 0.0}
    net.reset_head(7, dropout=0.1)
    assert net.head.dropout.p == 0.1


def test_another_pooling_of_the_class_maps() -> None:
    net, _ = _redrawn("nin")
    x = _images(32)
    with torch.no_grad():
        last = net.features(x)[-1]
        net.reset_head(7, pool="max")
        expected = F.relu(F.conv2d(last, net.head.fc.weight, net.head.fc.bias)).amax((2, 3))
        assert torch.allclose(net(x), expected)
        assert torch.equal(net.embed(x), last.amax((2, 3)))


def test_without_classes_the_last_map_is_pooled_and_kept() -> None:
    net, _ = _redrawn("nin")
    x = _images(32)
    with torch.no_grad():
        expected = net.embed(x)
        net.reset_head(0)
        assert torch.equal(net(x), expected)
        assert net.num_features == expected.shape[1] == 192
