"""Every network that another library has too, against that library's; and that the check has teeth.

What is compared with what stands in ``oracles/``, one file a family.
"""

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from parity import Oracle, assert_parity, make_pair, make_theirs
from torch import Tensor

from vertebra.nn import Backbone

# Built twice in float64, the largest take minutes or more than 4 GB; others are one more row of a
# table whose smaller rows are compared, and take ten seconds: `make test-all` runs them.
LARGE = {
    *("vit_l_16", "vit_l_32", "vit_h_14", "swin_l", "convnext_large", "convnext_xlarge"),
    *("wide_resnet101_2", "resnext101_32x8d", "resnext101_64x4d", "resnet152", "swin_b"),
    *("convnext_base", "efficientnet_b6", "efficientnet_b7"),
    # Once against torchvision is enough.
    *(f"vgg{depth}{norm}-timm" for depth in (13, 16, 19) for norm in ("", "_bn")),
}

FAMILIES = sorted(path.stem for path in Path(__file__).with_name("oracles").glob("[a-z]*.py"))
MODULES = {family: importlib.import_module(f"oracles.{family}") for family in FAMILIES}
ORACLES: list[Oracle] = [oracle for module in MODULES.values() for oracle in module.ORACLES]

Mutation = Callable[[Backbone], None]


def _parameter(oracle: Oracle) -> Any:
    marks = [pytest.mark.large] if {oracle.ours, str(oracle)} & LARGE else []
    return pytest.param(oracle, id=str(oracle), marks=marks)


@pytest.mark.parametrize("oracle", [_parameter(oracle) for oracle in ORACLES])
def test_equal_to_another_library(oracle: Oracle) -> None:
    assert_parity(make_pair(oracle))


def _first(name: str, oracles: list[Oracle]) -> Oracle:
    return next(oracle for oracle in oracles if oracle.ours == name)


@functools.cache
def _weights(family: str) -> dict[str, Tensor]:
    """Weights of the network to break, drawn once; each mutation gets a fresh pair with them."""
    module = MODULES[family]
    return make_theirs(_first(module.TEETH[0], module.ORACLES)).state_dict()


TEETH = [
    pytest.param(family, mutate, id=f"{family}-{mutate.__name__.strip('_')}")
    for family, module in MODULES.items()
    for mutate in module.TEETH[1]
]


@pytest.mark.parametrize(("family", "mutate"), TEETH)
def test_one_wrong_detail_is_noticed(family: str, mutate: Mutation) -> None:
    module = MODULES[family]
    pair = make_pair(_first(module.TEETH[0], module.ORACLES), _weights(family))
    mutate(pair.ours)
    with pytest.raises(AssertionError):
        assert_parity(pair)
