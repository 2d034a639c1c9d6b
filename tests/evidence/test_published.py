"""Published rows: do they belong to the networks that they stand beside?"""

import subprocess
import sys

import pytest
import timm
import torch
import torchvision

from vertebra.evidence import Published, published_elsewhere
from vertebra.zoo import create, get, list_models
from vertebra.zoo.downloads import timm_name

ELSEWHERE = list(published_elsewhere())
OF_TIMM = [(model, row) for model, row in ELSEWHERE if row.weights.startswith("timm:")]
CATALOGUE = [(name, row) for name in list_models() for row in get(name).published]
WITH_PARAMS = [(name, row) for name, row in CATALOGUE if row.params is not None]
AT_OUR_SIZE = [
    (name, row)
    for name, row in CATALOGUE
    if row.weights.startswith("IMAGENET1K") and row.crop == get(name).input_size[-1]
]


def _id(value: object) -> str:
    return value.weights if isinstance(value, Published) else str(value)


@pytest.mark.parametrize(("model", "row"), OF_TIMM, ids=_id)
def test_a_tag_of_timms_names_weights_that_timm_has(model: str, row: Published) -> None:
    """At the size that was evaluated: timm's training or its test size."""
    config = timm.get_pretrained_cfg(f"{timm_name(model)}.{row.weights.removeprefix('timm:')}")
    assert config is not None
    sizes = {config.input_size[-1], (config.test_input_size or config.input_size)[-1]}
    assert row.crop in sizes


@pytest.mark.parametrize(("model", "row"), WITH_PARAMS, ids=_id)
def test_published_parameters_are_the_networks(model: str, row: Published) -> None:
    """To the source's digits; only torchvision's Inception is counted with its auxiliary head.

    At the crop that was evaluated, because ViT's table of positions grows with it.
    """
    with torch.device("meta"):
        net = create(model, input_size=(3, row.crop, row.crop), seed=0)
    count = sum(parameter.numel() for parameter in net.parameters())
    if (model, row.weights) != ("inception_v3", "IMAGENET1K_V1"):
        count -= sum(parameter.numel() for parameter in net.aux.parameters())
    digits = {"paper": 100_000}.get(row.weights, 10_000 if "timm:" in row.weights else 1)
    assert abs((row.params or 0) - count) <= digits / 2


@pytest.mark.parametrize(("model", "row"), AT_OUR_SIZE, ids=_id)
def test_torchvisions_macs_are_ours(model: str, row: Published) -> None:
    """At the size of the catalogue, to torchvision's three decimals."""
    assert row.gmacs == pytest.approx(get(model).macs / 1e9, abs=6e-4)


def test_most_rows_are_compared() -> None:
    """So that the tests above cannot become empty."""
    assert len(WITH_PARAMS) > 100
    assert len(AT_OUR_SIZE) >= 60
    assert len(OF_TIMM) == 43


def test_every_torchvision_weight_is_listed() -> None:
    shared = set(list_models()) & set(torchvision.models.list_models(module=torchvision.models))
    assert len(shared) > 40
    for name in shared:
        known = {weights.name for weights in torchvision.models.get_model_weights(name)}
        assert known <= {row.weights for row in get(name).published}


def test_rows_are_whole() -> None:
    for model, row in CATALOGUE:
        assert row.source, model
        assert row.crop >= 32
        assert row.top1 or row.top5 or row.weights == "IMAGENET1K_FEATURES"
        for share in (row.top1, row.top5):
            assert share is None or 0.5 < share < 1


def test_reading_them_loads_no_torch() -> None:
    code = (
        "import sys, vertebra.evidence as e\n"
        "assert list(e.published_elsewhere())\n"
        "print([name for name in ('torch', 'numpy', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
