"""Finding a network by name, and what may be asked for."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import vertebra.zoo
from vertebra.core import VertebraError
from vertebra.nn import Backbone
from vertebra.zoo import create, get, list_models
from vertebra.zoo.catalogue import render
from vertebra.zoo.registry import load_families

ALL = list_models()
SMALL = ("resnet20", "plain20", "resnet18", "lenet5")


def _meta(name: str, *arguments: int, **options: Any) -> Backbone:
    with torch.device("meta"):
        return create(name, *arguments, seed=0, **options)


def _input(net: Backbone, batch: int = 2) -> Tensor:
    return torch.randn((batch, *net.input_size), generator=torch.Generator().manual_seed(0))


def test_the_catalogue_and_the_tables_name_the_same_networks() -> None:
    tables = [name for family in load_families().values() for name in family.variants]
    assert tables == ALL
    assert len(ALL) == len(set(ALL)) > 20


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("lenet*", {"lenet5", "lenet5_dense"}),
        ("LeNet5", {"lenet5"}),
        ("plain?0", {"plain20"}),
        ("vgg1[16]", {"vgg11", "vgg16"}),
        ("wide_*", {"wide_resnet50_2", "wide_resnet101_2"}),
        ("resnext*_*x[48]d", {"resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"}),
        ("resnet5", set()),
        ("*", set(ALL)),
    ],
)
def test_wildcards(pattern: str, expected: set[str]) -> None:
    assert set(list_models(pattern)) == expected


@pytest.mark.parametrize(
    "exclude",
    ["*resne*", ["*resne*"], ("*RESNE*",), ("resne*", "wide*", "seresne*"), iter(["*resne*"])],
)
def test_exclude_takes_one_wildcard_or_several(exclude: str | Iterable[str]) -> None:
    """Taken letter by letter the lone string holds "*", which would exclude everything."""
    expected = [name for name in ALL if "resne" not in name]
    assert list_models(exclude=exclude) == expected
    assert 50 < len(expected) < len(ALL)


def test_exclude_applies_after_the_pattern() -> None:
    assert list_models("plain*", exclude="*20") == ["plain32", "plain44", "plain56"]
    assert list_models("plain*", exclude=[]) == list_models("plain*")
    assert list_models(exclude="lenet5") == [name for name in ALL if name != "lenet5"]


def test_families() -> None:
    assert list_models(family="lenet") == ["lenet5", "lenet5_dense"]
    families = load_families()
    assert {name for family in families for name in list_models(family=family)} == set(ALL)
    assert sum(len(list_models(family=family)) for family in families) == len(ALL)
    assert list_models("resnet*", family="lenet") == []
    with pytest.raises(VertebraError, match="did you mean resnet"):
        list_models(family="resnets")


@pytest.mark.parametrize("find", [get, create])
def test_an_unknown_model_is_suggested_and_not_built(find: Any) -> None:
    with pytest.raises(VertebraError, match="unknown model 'resnet-50'; did you mean resnet50"):
        find("resnet-50")


@pytest.mark.parametrize("name", ["resnet50", "lenet5", "plain20"])
def test_the_catalogue_describes_what_is_built(name: str) -> None:
    entry, net = get(name), _meta(name)
    assert (entry.input_size, entry.num_classes) == (net.input_size, net.num_classes)
    assert entry.name == net.name == name


def test_the_stored_catalogue_is_what_the_tables_give() -> None:
    stored = Path(vertebra.zoo.__file__).with_name("catalogue.json").read_text()
    assert render() == stored


def test_listing_loads_no_torch() -> None:
    code = (
        "import sys, vertebra.zoo as zoo\n"
        "assert zoo.list_models() and zoo.get('resnet50').params == 25557032\n"
        "print([name for name in ('torch', 'numpy', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet18", {"zero_int": True}, "did you mean zero_init"),
        ("lenet5", {"zero_init": True}, "unknown option of lenet 'zero_init'"),
        ("resnet18", {"num_class": 3}, "did you mean num_classes"),
        ("resnet18", {"zero_init": 1}, "takes bool, got 1"),
        ("resnet18", {"zero_init": "yes"}, "takes bool, got 'yes'"),
        ("resnet18", {"num_classes": -1}, "num_classes"),
        ("resnet18", {"num_classes": 2.0}, "num_classes"),
        ("resnet18", {"num_classes": True}, "num_classes"),
        ("resnet18", {"in_chans": 0}, "in_chans"),
        ("resnet18", {"dropout": 1.0}, "dropout"),
        ("resnet18", {"dropout": float("nan")}, "dropout"),
        ("resnet18", {"drop_path": -0.1}, "drop_path"),
        ("plain20", {"drop_path": 0.1}, "no residual branches"),
        ("lenet5", {"drop_path": 0.1}, "no residual branches"),
        ("lenet5", {"input_size": (1, 28, 28)}, "32x32"),
        ("resnet18", {"input_size": (3, 224)}, "input_size"),
        ("resnet18", {"input_size": (3, 0, 224)}, "input_size"),
        ("resnet18", {"input_size": (3, "a", 224)}, "input_size"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(VertebraError, match=message):
        create(name, **{"seed": 0, **arguments})


def test_channels_follow_the_input_size() -> None:
    assert _meta("resnet18", input_size=(4, 64, 96)).input_size == (4, 64, 96)
    assert _meta("resnet18", 10, 4, input_size=(4, 64, 96)).input_size == (4, 64, 96)
    assert _meta("resnet18", 10, 1).input_size == (1, 224, 224)
    with pytest.raises(VertebraError, match=r"in_chans is 1, but .* has 4 channels"):
        _meta("resnet18", 10, 1, input_size=(4, 64, 96))
