"""Every registered network through one driver: all by shapes, one of each family by numbers.

`make test-all` runs all of them by numbers.
"""

from typing import Any

import driver
import pytest
from driver import ON_NUMBERS, ON_SHAPES, TRACED

from vertebra.zoo import list_models
from vertebra.zoo.registry import load_families

# The smallest member of each family, which stands for the others; ResNet's kinds are several.
ONE_OF_EACH = (
    "lenet5 alexnet alexnet_2012 nin vgg11 vgg11_bn googlenet googlenet_2014 resnet18 resnet20 "
    "plain20 resnet50 seresnet50 inception_v3 resnet50_v2 densenet121 mobilenet_v1_050 "
    "mobilenet_v2 mobilenet_v3_small efficientnet_b0 efficientnet_lite0 vit_ti_16 swin_t "
    "mobilevit_xxs convnext_atto"
).split()


def test_each_family_is_represented() -> None:
    for family in load_families().values():
        assert set(family.variants) & set(ONE_OF_EACH), family.name


def _names(kept: list[str]) -> list[Any]:
    return [
        pytest.param(name, marks=[] if name in kept else [pytest.mark.large])
        for name in list_models()
    ]


@pytest.mark.parametrize("check", ON_SHAPES, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", list_models())
def test_by_shapes(name: str, check: Any) -> None:
    check(name, driver.on_meta)


@pytest.mark.parametrize("check", ON_SHAPES, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", _names(ONE_OF_EACH))
def test_the_same_by_numbers(name: str, check: Any) -> None:
    check(name, driver.small)


@pytest.mark.parametrize("check", ON_NUMBERS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", _names(ONE_OF_EACH))
def test_by_numbers(name: str, check: Any) -> None:
    check(name)


@pytest.mark.parametrize("check", TRACED, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", _names(ONE_OF_EACH))
def test_traced(name: str, check: Any) -> None:
    check(name)
