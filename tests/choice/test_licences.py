"""The licences of weights, beside those that timm and torchvision state."""

from importlib.metadata import metadata

import pytest
import timm
import torchvision

from vertebra.choice.licences import UNKNOWN, accepts, check_licence, known_licences, licence_of
from vertebra.core import VertebraError
from vertebra.evidence import Published
from vertebra.zoo import get, list_models
from vertebra.zoo.downloads import timm_name

PUBLISHED = [(model, row) for model in list_models() for row in get(model).published]
OF_TIMM = [(model, row) for model, row in PUBLISHED if row.weights.startswith("timm:")]
OF_TORCHVISION = [(model, row) for model, row in PUBLISHED if row.weights.startswith("IMAGENET")]


def test_timms_weights_have_the_licence_that_timm_states() -> None:
    assert len(OF_TIMM) > 40
    for model, row in OF_TIMM:
        config = timm.get_pretrained_cfg(f"{timm_name(model)}.{row.weights.removeprefix('timm:')}")
        assert licence_of(row, model) == config.license, (model, row.weights)


def test_torchvision_states_one_only_where_its_meta_does() -> None:
    stated = [(model, row) for model, row in OF_TORCHVISION if _meta(model, row).get("license")]
    assert {row.weights.rpartition("_")[0] for _, row in stated} == {
        "IMAGENET1K_SWAG_E2E",
        "IMAGENET1K_SWAG_LINEAR",
    }
    for model, row in OF_TORCHVISION:
        expected = "cc-by-nc-4.0" if (model, row) in stated else None
        assert licence_of(row, model) == expected, (model, row.weights)
    readme = metadata("torchvision").get_payload()
    assert "SWAG models are released under the CC-BY-NC 4.0 license" in " ".join(readme.split())


def _meta(model: str, row: Published) -> dict[str, object]:
    meta: dict[str, object] = torchvision.models.get_model_weights(model)[row.weights].meta
    return meta


def test_figures_without_weights_have_none() -> None:
    others = [(m, row) for m, row in PUBLISHED if row.weights in ("paper", "release")]
    assert others
    assert {licence_of(row, model) for model, row in others} == {None}


def test_unknown_is_accepted_only_by_its_word() -> None:
    assert accepts(None, None)
    assert accepts(None, "cc-by-nc-4.0")
    assert accepts(("mit", UNKNOWN), None)
    assert not accepts(("mit",), None)
    assert not accepts(("mit", UNKNOWN), "cc-by-nc-4.0")


def test_a_slip_is_told_and_a_stranger_is_not() -> None:
    assert "apache-2.0" in known_licences()
    with pytest.raises(VertebraError, match=r"did you mean apache-2\.0"):
        check_licence("apache2.0")
    check_licence("bsd-3-clause")
