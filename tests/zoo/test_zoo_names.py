"""Every row that says a library has it: all names and shapes of that library's network fit.

What they compute is compared in `test_parity.py`, for some of them in one library only.
"""

import pytest
import timm
import torch
import torchvision
from torch import nn

from vertebra.zoo import create, list_models
from vertebra.zoo.downloads import timm_name
from vertebra.zoo.foreign import mismatches, rename
from vertebra.zoo.registry import family_of

OF_TORCHVISION = torchvision.models.list_models(module=torchvision.models)
# Rows whose names a library's file fits, though the library computes something else with it.
OTHER_NETWORK = {"resnet50_v1", "vgg16_gap"}
PAIRS = [
    (name, library)
    for name in list_models()
    if name not in OTHER_NETWORK
    for library in family_of(name).sources
    if (name in OF_TORCHVISION if library == "torchvision" else timm.is_model(timm_name(name)))
]


def _theirs(name: str, library: str) -> nn.Module:
    with torch.device("meta"):
        if library == "timm":
            net: nn.Module = timm.create_model(timm_name(name), num_classes=1000)
        else:
            net = torchvision.models.get_model(name)
    return net


def test_there_are_pairs_of_both_libraries() -> None:
    assert len([library for _, library in PAIRS if library == "torchvision"]) == 48
    assert len([library for _, library in PAIRS if library == "timm"]) == 70


@pytest.mark.parametrize(("name", "library"), PAIRS)
def test_names_and_shapes_fit(name: str, library: str) -> None:
    options = {"aux_heads": False} if (name, library) == ("inception_v3", "timm") else {}
    with torch.device("meta"):
        net = create(name, seed=0, **options)
    assert mismatches(net, rename(net, _theirs(name, library).state_dict(), library)) == []
