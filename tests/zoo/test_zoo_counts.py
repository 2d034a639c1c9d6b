"""Parameter counts, against those that were published."""

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from vertebra.zoo import create, get, list_models
from vertebra.zoo.downloads import timm_name
from vertebra.zoo.registry import family_of

OF_TORCHVISION = torchvision.models.list_models(module=torchvision.models)
SHARED = [name for name in list_models() if name in OF_TORCHVISION]
OF_TIMM = [
    name
    for name in list_models()
    if "timm" in family_of(name).sources and timm.is_model(timm_name(name))
]
# Table 6 of arXiv:1512.03385, in millions to the paper's digits.
CIFAR = {"resnet20": "0.27", "resnet32": "0.46", "resnet44": "0.66", "resnet56": "0.85"}


def _meta(name: str, **arguments: Any) -> nn.Module:
    with torch.device("meta"):
        return create(name, seed=0, **arguments)


def _params(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_most_networks_are_shared_with_another_library() -> None:
    """So that the parametrised tests below cannot become empty."""
    assert len(SHARED) == 48
    assert len(OF_TIMM) == 70


@pytest.mark.parametrize("name", SHARED)
def test_torchvisions_networks_have_torchvisions_count(name: str) -> None:
    """torchvision's metadata leaves GoogLeNet's auxiliary heads out and counts Inception's in."""
    weights = torchvision.models.get_model_weights(name).DEFAULT
    size = weights.transforms().crop_size[0]
    left_out = get(name).aux_params if name == "googlenet" else 0
    assert _params(_meta(name)) == get(name).params
    count = _params(_meta(name, input_size=(3, size, size)))
    assert count - left_out == weights.meta["num_params"]


@pytest.mark.parametrize("name", OF_TIMM)
def test_timms_networks_have_timms_count(name: str) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(timm_name(name), num_classes=1000)
    entry = get(name)
    assert _params(theirs) == entry.params - entry.aux_params


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("alexnet_2012", {}, 60_965_224),
        ("alexnet_ungrouped", {}, 62_378_344),
        ("inception_v3", {"aux_heads": True}, 27_161_264),
        ("inception_v3", {"aux_heads": False}, 23_834_568),
        ("googlenet", {"aux_heads": False}, 6_624_904),
        ("nin", {}, 966_986),
    ],
)
def test_counts_that_are_often_quoted(name: str, options: dict[str, bool], count: int) -> None:
    assert _params(_meta(name, **options)) == count


def test_the_papers_googlenet_has_seven_million() -> None:
    assert _params(_meta("googlenet_2014", aux_heads=False)) == pytest.approx(7.0e6, rel=0.005)


@pytest.mark.parametrize(("name", "millions"), CIFAR.items())
def test_cifar_networks_have_the_papers_count(name: str, millions: str) -> None:
    assert f"{_params(_meta(name)) / 1e6:.2f}" == millions


def test_resnet110_has_the_papers_count() -> None:
    assert f"{_params(_meta('resnet110')) / 1e6:.1f}" == "1.7"


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_a_plain_network_has_its_twins_count(depth: int) -> None:
    """Option A needs no parameters, so only the sum distinguishes the two (section 3.3)."""
    plain, residual = _meta(f"plain{depth}"), _meta(f"resnet{depth}")
    assert _params(plain) == _params(residual)
    assert list(plain.state_dict()) == list(residual.state_dict())


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "lenet5"])
def test_depth_in_the_name_is_the_number_of_weighted_layers(name: str) -> None:
    """Convolutions and linear layers on the way through; projections do not count."""
    net = _meta(name)
    weighted = [
        path
        for path, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in path
    ]
    # LeNet-5 has C1, C3 (three kernels for its three kinds of columns), C5, F6 and the classifier.
    expected = 7 if name == "lenet5" else int(name.removeprefix("resnet"))
    assert len(weighted) == expected
