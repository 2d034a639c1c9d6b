"""Initial weights: as widely spread, parameter by parameter, as those of the library we follow."""

import importlib
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from parity import Oracle
from torch import Tensor, nn

from vertebra.zoo import create
from vertebra.zoo.foreign import rename

# The smallest member of each family that a library initialises; with torchvision where it can.
NAMES = (
    "resnet18 resnet50 seresnet50 resnet50_v2 alexnet vgg11 vgg11_bn googlenet inception_v3 "
    "densenet121 mobilenet_v1 mobilenet_v2 mobilenet_v3_small efficientnet_b0 efficientnet_lite0 "
    "vit_b_32 swin_t convnext_tiny mobilevit_xxs mobilevit_s"
).split()

FILES = sorted(Path(__file__).with_name("oracles").glob("[a-z]*.py"))
ORACLES: list[Oracle] = [
    oracle for file in FILES for oracle in importlib.import_module(f"oracles.{file.stem}").ORACLES
]


def _oracle(name: str) -> Oracle:
    """torchvision's, where there is one."""
    mine = [oracle for oracle in ORACLES if oracle.ours == name]
    return min(mine, key=lambda oracle: oracle.library != "torchvision")


def _theirs(oracle: Oracle) -> nn.Module:
    torch.manual_seed(0)
    if oracle.library == "timm":
        net: nn.Module = timm.create_model(oracle.theirs)
    else:
        # torchvision leaves it to the caller whether GoogLeNet and Inception are initialised.
        extra = {"init_weights": True} if oracle.theirs in ("googlenet", "inception_v3") else {}
        net = torchvision.models.get_model(oracle.theirs, **extra)
    return net


@pytest.mark.parametrize("name", NAMES)
def test_the_spread_of_every_parameter_is_the_references(name: str) -> None:
    oracle = _oracle(name)
    # timm starts the last scale of a residual branch at zero, which is an option of our ResNets.
    options = {"zero_init": True} if name == "seresnet50" else {}
    ours = create(name, seed=0, **options)
    theirs = rename(ours, _theirs(oracle).state_dict(), oracle.library)
    for path, parameter in ours.named_parameters():
        if path.startswith("aux.") and path not in theirs:
            continue
        _assert_spread(path, parameter.detach(), theirs[path])


def _assert_spread(path: str, ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape, path
    if theirs.numel() == 1 or not theirs.any():
        assert torch.equal(ours, theirs), path
        return
    # Six standard errors of a mean and, roughly, of a standard deviation.
    spread, margin = theirs.std().item(), 6 / theirs.numel() ** 0.5
    assert ours.mean().item() == pytest.approx(theirs.mean().item(), abs=2 * margin * spread), path
    assert ours.std().item() == pytest.approx(spread, rel=2 * margin, abs=1e-12), path
    if theirs.numel() > 5000 and spread:
        # The mean deviation tells a uniform distribution (0.87 of the standard one) from a normal
        # one (0.80).
        shapes = [float((side - side.mean()).abs().mean()) / spread for side in (ours, theirs)]
        assert shapes[0] == pytest.approx(shapes[1], rel=0.05), path
