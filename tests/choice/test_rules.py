"""The rules of thumb: what is taught, and where it ends or contradicts itself."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra.choice.requirement import Requirement
from vertebra.choice.rules import (
    RULES,
    conflicts,
    covered,
    span,
    verdicts,
    weights_verdicts,
)
from vertebra.choice.rules.habits import RESNET50
from vertebra.choice.rules.rule import fits
from vertebra.zoo import get, list_models

ALL = [get(name) for name in list_models()]
V1, V2 = "IMAGENET1K_V1", "IMAGENET1K_V2"


def _asked(**fields: Any) -> Requirement:
    return Requirement(**fields)


def _preferred(code: str, requirement: Requirement) -> set[str]:
    rule = next(rule for rule in RULES if rule.code == code)
    return {entry.name for entry in ALL if rule.on(requirement, entry) == "prefers"}


def test_every_rule_has_its_own_code_a_source_and_a_doubt() -> None:
    codes = [rule.code for rule in RULES]
    assert len(codes) == len(set(codes))
    for rule in RULES:
        assert all((rule.says, rule.source, rule.doubt, rule.where.words)), rule.code


def test_every_wildcard_names_a_network_that_there_is() -> None:
    for rule in RULES:
        for pattern in (*rule.prefers, *rule.against):
            assert any(fits(entry, (pattern,)) for entry in ALL), (rule.code, pattern)


@pytest.mark.parametrize(
    ("fields", "code", "names"),
    [
        ({"images": 20_000}, "row.under-50k", {"resnet50"}),
        ({"images": 20_000}, "row.10k-100k", {"efficientnet_b4", "convnext_tiny"}),
        (
            {"images": 300_000, "gpus": 1},
            "row.100k-1m-one-gpu",
            {"efficientnet_b3", "resnet50"},
        ),
        ({"images": 300_000, "gpus": 4}, "row.100k-1m-several-gpus", {"swin_t", "swin_b"}),
        (
            {"images": 1_000_000, "gpus": 8},
            "row.from-1m-cluster",
            {"vit_l_16", "swin_l", "convnext_large"},
        ),
        ({"images": 20_000, "must_features": True}, "heads.resnet", {"resnet50", "resnet101"}),
        ({"min_accuracy": 0.83}, "accuracy.efficientnet-b4", {"efficientnet_b4"}),
    ],
)
def test_the_rows_name_what_is_taught(fields: dict[str, Any], code: str, names: set[str]) -> None:
    assert _preferred(code, _asked(**fields)) == names


@pytest.mark.parametrize(
    ("images", "gpus", "gap"),
    [
        (49_999, 0, False),
        (50_000, 0, True),
        (75_000, 1, True),
        (99_999, 1, True),
        (99_999, 8, True),
        (100_000, 1, False),
        (999_999, 2, False),
        (1_000_000, 1, True),
        (1_000_000, 8, False),
    ],
)
def test_the_table_ends_where_it_ends(images: int, gpus: int, gap: bool) -> None:
    found = covered(_asked(images=images, gpus=gpus))
    assert (found.gap is not None) == gap


def test_the_gap_names_its_neighbours_and_what_the_other_scale_says() -> None:
    found = covered(_asked(images=75_000))
    assert found.gap is not None
    assert "under 50\u202f000" in found.gap or "under 50 000" in found.gap
    assert "one GPU" in found.gap
    assert "several" not in found.gap
    assert [row.code for row in found.rows] == ["row.10k-100k"]
    assert "row.10k-100k" in found.gap


def test_a_budget_or_a_detector_has_rows_of_its_own() -> None:
    assert covered(_asked(images=75_000, gmacs=0.5)).gap is None
    assert covered(_asked(images=75_000, must_features=True, latency_ms=30)).gap is None
    assert covered(_asked(images=75_000, must_features=True, latency_ms=300)).gap is not None


def test_scratch_and_silence_are_no_row() -> None:
    assert covered(_asked(images=20_000, pretrained=False)).gap is not None
    said = covered(_asked()).gap
    assert said is not None
    assert "not said" in said
    assert covered(_asked(kind="text", images=20_000)).gap is None


def _pairs(**fields: Any) -> set[frozenset[str]]:
    return {
        frozenset((found.one.code, found.other.code)) for found in conflicts(_asked(**fields), ALL)
    }


def test_known_contradictions_are_found() -> None:
    assert {"row.under-50k", "row.10k-100k"} in _pairs(images=20_000)
    assert {"row.under-50k", "row.10k-100k"} not in _pairs(images=5_000)
    assert {"row.100k-1m-several-gpus", "cnn.under-1m"} in _pairs(images=300_000, gpus=4)
    assert {"accuracy.efficientnet-b4", "cpu.not-b4"} in _pairs(min_accuracy=0.83, latency_ms=60)
    assert _pairs(images=5_000_000, gpus=32) == set()


def test_a_conflict_names_both_and_what_they_differ_on() -> None:
    found = conflicts(_asked(images=300_000, gpus=4), ALL)
    swin = next(entry for entry in found if entry.other.code == "cnn.under-1m")
    assert swin.one.code == "row.100k-1m-several-gpus"
    assert swin.one.says in swin.says
    assert swin.other.says in swin.says
    assert swin.models == ("swin_t", "swin_b")
    json.dumps(swin.to_dict())


def test_networks_that_are_not_asked_about_are_no_contradiction() -> None:
    few = [get(name) for name in ("resnet50", "mobilenet_v3_large")]
    assert conflicts(_asked(images=20_000), few) == ()


def test_capacity_follows_the_rows() -> None:
    assert span(_asked(images=5_000)) == (get("resnet50").params,) * 2
    least, most = span(_asked(images=300_000, gpus=4)) or (0, 0)
    assert (least, most) == (get("swin_t").params, get("swin_b").params)
    assert span(_asked(images=5_000, pretrained=False)) is None
    said = {verdict.rule.code: verdict for verdict in verdicts(_asked(images=5_000), get("vgg16"))}
    assert said["capacity.rows"].stance == "against"
    assert "25.56 M" in said["capacity.rows"].says
    assert "138.4 M" in said["capacity.rows"].says


def test_overkill_is_counted_by_image_and_only_from_scratch() -> None:
    codes = [
        {verdict.rule.code for verdict in verdicts(_asked(images=1_000, pretrained=p), get(name))}
        for p, name in ((False, "resnet50"), (False, "resnet20"), (True, "resnet50"))
    ]
    assert ["capacity.overkill" in some for some in codes] == [True, False, False]


def test_vgg_is_never_advised() -> None:
    for images in (None, 500, 20_000, 300_000, 5_000_000):
        for name in list_models(family="vgg"):
            said = verdicts(_asked(images=images), get(name))
            assert ("never.vgg", "against") in {(v.rule.code, v.stance) for v in said}


def test_first_weights_are_bad_only_beside_second_ones() -> None:
    few = _asked(images=3_000)
    assert {v.stance for v in weights_verdicts(few, V1, (V1, V2))} == {"against"}
    assert weights_verdicts(few, V1, (V1,)) == ()
    assert {v.stance for v in weights_verdicts(few, V2, (V1, V2))} == {"prefers"}
    larger = weights_verdicts(few, "timm:fb_in22k_ft_in1k", (V1,))
    assert [v.rule.code for v in larger] == ["weights.before-architecture"]
    assert weights_verdicts(_asked(images=3_000, pretrained=False), V1, (V1, V2)) == ()


def test_the_figure_that_the_rule_of_accuracy_takes_is_published() -> None:
    best = get("resnet50").best
    assert best is not None
    assert best.top1 == RESNET50


def test_the_numbers_in_the_doubts_are_those_of_the_catalogue() -> None:
    gmacs = {name: get(name).macs / 1e9 for name in list_models()}
    assert gmacs["mobilevit_s"] == pytest.approx(2.0, abs=0.05)
    assert gmacs["mobilevit_xs"] == pytest.approx(1.03, abs=0.005)
    assert gmacs["mobilevit_xxs"] < 1
    assert gmacs["efficientnet_b3"] == pytest.approx(1.83, abs=0.005)
    assert gmacs["resnet50"] == pytest.approx(4.1, abs=0.05)
    assert min(gmacs["efficientnet_lite3"], gmacs["efficientnet_lite4"]) > 1
    assert get("efficientnet_b4").best.top1 == pytest.approx(0.8338, abs=5e-5)
    assert [e.name for e in ALL if e.name.startswith("efficientnet_lite") and e.published] == [
        "efficientnet_lite0"
    ]


@given(
    st.none() | st.integers(2, 10**7),
    st.integers(0, 64),
    st.booleans(),
    st.booleans(),
    st.sampled_from(("photographs", "near", "far")),
    st.none() | st.floats(0.05, 20),
    st.none() | st.floats(0.1, 500),
    st.sampled_from(ALL),
)
def test_verdicts_are_of_rules_that_hold(
    images: int | None,
    gpus: int,
    pretrained: bool,
    must_features: bool,
    domain: str,
    gmacs: float | None,
    latency_ms: float | None,
    architecture: Any,
) -> None:
    asked = Requirement(
        images=images,
        gpus=gpus,
        pretrained=pretrained,
        must_features=must_features,
        domain=domain,
        gmacs=gmacs,
        latency_ms=latency_ms,
    )
    found = verdicts(asked, architecture)
    assert {verdict.rule.code for verdict in found} <= {
        rule.code for rule in RULES if rule.applies(asked)
    }
    assert {verdict.stance for verdict in found} <= {"prefers", "against"}
    json.dumps([verdict.to_dict() for verdict in found])


def test_other_data_has_no_rules() -> None:
    for kind in ("table", "text", "video"):
        asked = _asked(kind=kind, images=20_000)
        assert not [rule.code for rule in RULES if rule.applies(asked)]
