"""The 2012 forms of AlexNet, against a forward and a table written down a second time.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks".
The reference uses plain functions on a state dict: no module of ours runs in it.
"""

from typing import Any

import pytest
import torch
import torchvision
from parity import MAP_TOLERANCE, assert_close, redraw
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import dissect
from vertebra.nn import Backbone
from vertebra.zoo import create

Weights = dict[str, Tensor]

CONV1, CONV2 = "stages.0.0.conv", "stages.1.1.conv"
CONV3, CONV4, CONV5 = "stages.2.1.conv", "stages.2.2.conv", "stages.2.3.conv"
FC6, FC7, FC8 = "head.hidden.fc6", "head.hidden.fc7", "head.fc"
ON_ONE_GPU = {CONV2, CONV4, CONV5}


Redrawn = tuple[Backbone, Weights]


def _redrawn(name: str) -> Redrawn:
    with torch.device("meta"):
        net = create(name, seed=0)
    net = net.double().to_empty(device="cpu")
    redraw(net)
    return net.eval(), net.state_dict()


@pytest.fixture(scope="module")
def paper() -> Redrawn:
    return _redrawn("alexnet_2012")


def _response_norm(a: Tensor) -> Tensor:
    """Section 3.3, with k = 2, n = 5, alpha = 1e-4, beta = 0.75."""
    count = a.shape[1]
    sums = [(a[:, max(0, i - 2) : i + 3] ** 2).sum(1) for i in range(count)]
    return a / (2 + 1e-4 * torch.stack(sums, 1)) ** 0.75


def _reference(weights: Weights, x: Tensor, halves: bool, padding: int) -> list[Tensor]:
    """The map of each stage, fc7, logits; with ``halves``, kernels see their own GPU's maps."""

    def conv(path: str, x: Tensor, **geometry: int) -> Tensor:
        weight, bias = weights[f"{path}.weight"], weights[f"{path}.bias"]
        if not (halves and path in ON_ONE_GPU):
            return F.relu(F.conv2d(x, weight, bias, **geometry))
        sides = zip(x.chunk(2, 1), weight.chunk(2), bias.chunk(2), strict=True)
        return torch.cat([F.relu(F.conv2d(a, w, b, **geometry)) for a, w, b in sides], 1)

    def full(path: str, x: Tensor) -> Tensor:
        return F.linear(x, weights[f"{path}.weight"], weights[f"{path}.bias"])

    one = _response_norm(conv(CONV1, x, stride=4, padding=padding))
    two = _response_norm(conv(CONV2, F.max_pool2d(one, 3, 2), padding=2))
    x = conv(CONV3, F.max_pool2d(two, 3, 2), padding=1)
    five = conv(CONV5, conv(CONV4, x, padding=1), padding=1)
    x = F.max_pool2d(five, 3, 2).flatten(1)
    fc7 = F.relu(full(FC7, F.relu(full(FC6, x))))
    return [one, two, five, fc7, full(FC8, fc7)]


def _images(size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    # Pixels as in the paper, 0 to 255 less the mean: small ones leave the norm with nothing to do.
    return 60 * torch.randn(2, 3, size, size, dtype=torch.float64, generator=generator)


def _outputs(net: Backbone, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return [*net.features(x), net.embed(x), net(x)]


def _compare(net: Backbone, weights: Weights, x: Tensor, **form: Any) -> None:
    with torch.no_grad():
        expected = _reference(weights, x, **form)
    for index, (our, their) in enumerate(zip(_outputs(net, x), expected, strict=True)):
        assert_close(f"{net.name} {index}", our, their, MAP_TOLERANCE)


def test_alexnet_2012(paper: Redrawn) -> None:
    _compare(*paper, _images(224), halves=True, padding=2)


def test_alexnet_ungrouped() -> None:
    _compare(*_redrawn("alexnet_ungrouped"), _images(224), halves=False, padding=2)


def test_without_padding_227_pixels_give_the_same_shapes(paper: Redrawn) -> None:
    padded, weights = paper
    with torch.device("meta"):
        net = create("alexnet_2012", seed=0, unpadded=True)
    net.load_state_dict(weights, assign=True)
    assert net.input_size == (3, 227, 227)
    x = _images(227)
    _compare(net.eval(), weights, x, halves=True, padding=0)
    shapes = [[y.shape for y in _outputs(*pair)] for pair in ((net, x), (padded, _images(224)))]
    assert shapes[0] == shapes[1]


def _without_groups(net: Backbone) -> None:
    """Each half sees the first half's maps."""
    conv = net.stages[1][1].conv
    conv.groups = 1
    conv.weight = nn.Parameter(torch.cat([conv.weight, 0 * conv.weight], 1))


def _alpha_divided(net: Backbone) -> None:
    net.stages[0][1].alpha /= 5


def _norm_k(net: Backbone) -> None:
    net.stages[1][2].k = 1.0


def _norm_after_pooling(net: Backbone) -> None:
    """As CaffeNet has it."""
    net.stages[1].insert(1, net.stages[0].pop(1))


def _norm_before_the_activation(net: Backbone) -> None:
    unit = net.stages[1][1]
    unit.act, net.stages[1][2] = net.stages[1][2], unit.act


@pytest.mark.parametrize(
    "mutate",
    [_without_groups, _alpha_divided, _norm_k, _norm_after_pooling, _norm_before_the_activation],
)
def test_one_wrong_detail_is_noticed(mutate: Any, paper: Redrawn) -> None:
    _, weights = paper
    with torch.device("meta"):
        net = create("alexnet_2012", seed=0)
    net.load_state_dict(weights, assign=True)
    mutate(net)
    x = _images(224)[:1]
    with torch.no_grad():
        expected = _reference(weights, x, halves=True, padding=2)[1]
        (ours,) = net.eval().features(x, [1])
    with pytest.raises(AssertionError):
        assert_close("second map", ours, expected, MAP_TOLERANCE)


# Section 3.5: kernels, numbers in a kernel, and the neurons that figure 2 counts in the layer. The
# paper's 253 440 for the first are not 55 x 55 x 96, which its kernels and stride give.
SECTION_3_5 = {
    CONV1: (96, 11 * 11 * 3, 290_400),
    CONV2: (256, 5 * 5 * 48, 186_624),
    CONV3: (384, 3 * 3 * 256, 64_896),
    CONV4: (384, 3 * 3 * 192, 64_896),
    CONV5: (256, 3 * 3 * 192, 43_264),
    FC6: (4096, 6 * 6 * 256, 4096),
    FC7: (4096, 4096, 4096),
    FC8: (1000, 4096, 1000),
}
# Without groups a kernel sees both halves.
UNGROUPED = SECTION_3_5 | {
    CONV2: (256, 5 * 5 * 96, 186_624),
    CONV4: (384, 3 * 3 * 384, 64_896),
    CONV5: (256, 3 * 3 * 384, 43_264),
}


@pytest.mark.parametrize(
    ("name", "table", "params"),
    [("alexnet_2012", SECTION_3_5, 60_965_224), ("alexnet_ungrouped", UNGROUPED, 62_378_344)],
)
def test_the_papers_table(name: str, table: dict[str, tuple[int, int, int]], params: int) -> None:
    with torch.device("meta"):
        net = create(name, seed=0)
    body = dissect(net)
    layers = {layer.name: layer for layer in body.layers if layer.kind in ("Conv2d", "Linear")}
    found = {
        path: (layer.output_shape[1], layer.params, layer.macs, torch.Size(layer.output_shape))
        for path, layer in layers.items()
    }
    assert {path: (row[:3], row[3].numel()) for path, row in found.items()} == {
        path: ((kernels, kernels * (size + 1), neurons * size), neurons)
        for path, (kernels, size, neurons) in table.items()
    }
    assert body.params == params
    assert body.macs == sum(size * neurons for _, size, neurons in table.values())
    assert body.partial == ()


@pytest.fixture(scope="module")
def fresh() -> Backbone:
    return create("alexnet_2012", seed=0)


def test_initial_biases_are_those_of_section_5(fresh: Backbone) -> None:
    biases = {
        name.removesuffix(".bias"): value
        for name, value in fresh.named_parameters()
        if name.endswith(".bias")
    }
    ones = {CONV2, CONV4, CONV5, FC6, FC7}
    assert {path for path, value in biases.items() if bool((value == 1).all())} == ones
    assert all(bool((value == 0).all()) for path, value in biases.items() if path not in ones)


def test_initial_weights_are_those_of_section_5(fresh: Backbone) -> None:
    for name, value in fresh.named_parameters():
        if name.endswith(".weight"):
            assert abs(value.std().item() - 0.01) < 2e-4, name
            assert abs(value.mean().item()) < 2e-4, name


def _order(name: str) -> list[str]:
    """Of the head's layers after the pooling."""
    with torch.device("meta"):
        head = create(name, seed=0).head
    layers = [*head.hidden, head.dropout, head.fc]
    return [type(layer).__name__ for layer in layers if not isinstance(layer, nn.Identity)]


def test_dropout_stands_where_each_form_has_it() -> None:
    """Evaluation cannot show it. Section 4.2: in the first two fully connected layers."""
    with torch.device("meta"):
        theirs = torchvision.models.alexnet().classifier
    assert _order("alexnet") == [type(layer).__name__ for layer in theirs]
    paper = ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert _order("alexnet_2012") == _order("alexnet_ungrouped") == paper


@pytest.mark.parametrize("name", ["alexnet", "alexnet_2012"])
def test_the_rate_reaches_both_dropouts(name: str) -> None:
    with torch.device("meta"):
        nets = [create(name, seed=0), create(name, seed=0, dropout=0.1)]
    nets[1].reset_head(7, dropout=0.2)
    rates = [[m.p for m in net.modules() if isinstance(m, nn.Dropout)] for net in nets]
    assert rates == [[0.5, 0.5], [0.2, 0.2]]
