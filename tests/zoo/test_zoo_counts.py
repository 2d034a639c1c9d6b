"""Parameter counts, against those that were published."""

import pytest
import torch
import torchvision
from torch import nn

from vertebra.zoo import create, get, list_models

SHARED = [name for name in list_models() if name in torchvision.models.list_models()]
# Table 6 of arXiv:1512.03385, in millions to the paper's digits.
CIFAR = {"resnet20": "0.27", "resnet32": "0.46", "resnet44": "0.66", "resnet56": "0.85"}


def _meta(name: str, **arguments: int) -> nn.Module:
    with torch.device("meta"):
        return create(name, seed=0, **arguments)


def _params(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_ten_networks_are_shared_with_torchvision() -> None:
    """So that the parametrised test below cannot become empty."""
    assert len(SHARED) == 10


@pytest.mark.parametrize("name", SHARED)
def test_torchvisions_networks_have_torchvisions_count(name: str) -> None:
    published = torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
    assert _params(_meta(name)) == published
    assert get(name).params == published


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
