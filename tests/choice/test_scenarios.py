"""Thirty situations with the answers that are taught for them, on what was really measured.

The measurements (``measured.csv``) are those of docs/benchmarks.md; only what the machine is called
is made up. Where the answer is not the taught one, a measurement has to say why: :data:`EXPLAINED`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import made_up
from vertebra.choice import Candidate, Choice, Requirement, choose, recipe
from vertebra.choice.order import best, dominates
from vertebra.evidence import Evidence, Measurement

HERE = Path(__file__).parent
SCENARIOS: list[dict[str, Any]] = yaml.safe_load((HERE / "scenarios.yaml").read_text())
LEAST = 24
# Why a taught network is not the answer; :data:`REASONS` says when each holds.
BEATEN, LONG = "beaten on everything", "too long to train"
DEAR, SLOW = "not worth its time", "would win were it as fast"


@dataclass(frozen=True)
class Against:
    """What was measured of a taught network beside the answer, and why it is not the answer.

    Attributes:
        taught: the network, in the way in which it comes nearest.
        points: by how many hundredths the answer is more accurate, as published.
        times: the answer's time over the taught one's.
        why: one of :data:`REASONS`.
    """

    taught: str
    points: float
    times: float
    why: str


# By scenario the answer, and what was measured that speaks against each taught one.
EXPLAINED = {
    "small set, photographs": (
        "efficientnet_b4",
        [Against("resnet50", 2.5, 1.94, BEATEN)],
    ),
    "small set on a quick baseline": (
        "efficientnet_b1",
        [
            Against("resnet101", -2.0, 0.21, LONG),
            Against("resnet18", 10.1, 0.93, BEATEN),
            Against("resnet34", 6.5, 0.48, BEATEN),
            Against("resnet50", -1.0, 0.40, LONG),
            Against("resnext50_32x4d", -1.4, 0.36, LONG),
            Against("wide_resnet50_2", -1.8, 0.15, LONG),
        ],
    ),
    "middle-sized set, several GPUs": (
        "convnext_small",
        [Against("swin_b", -1.7, 0.56, SLOW), Against("swin_t", 2.1, 1.92, BEATEN)],
    ),
    "new project": (
        "efficientnet_b4",
        [Against("convnext_small", -0.2, 0.67, DEAR), Against("convnext_tiny", 0.9, 1.20, DEAR)],
    ),
    "heads of detectors": (
        "efficientnet_b4",
        [Against("resnet101", 1.5, 1.03, BEATEN), Against("resnet50", 2.5, 1.94, BEATEN)],
    ),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    store = Evidence(str(tmp_path_factory.mktemp("scenarios") / "evidence.sqlite"))
    with (HERE / "measured.csv").open(newline="") as file:
        store.add([_measurement(row) for row in csv.DictReader(file)], made_up.MACHINE)
    return store


def _measurement(row: dict[str, str]) -> Measurement:
    made = made_up.measurement(row["model"])
    setting = {name: row[name] for name in ("engine", "precision", "workload")}
    shape = (int(row["batch"]), *made.conditions.input_shape[1:])
    number = {name: float(row[name]) for name in ("p50", "p90", "floor", "images_per_second")}
    return replace(
        made,
        conditions=replace(made.conditions, input_shape=shape, **setting),
        interval=(float(row["low"]), float(row["high"])),
        memory=int(row["memory"]),
        file=int(row["file"]),
        cost_only=row["precision"] == "int8",
        **number,
    )


def _answer(scenario: dict[str, Any], store: Evidence) -> Choice:
    return choose(Requirement(**scenario["needs"]), store, machine=made_up.MACHINE)


def _as_taught(choice: Choice, expect: dict[str, Any]) -> bool:
    """Whether the answer is one of those that are taught."""
    winner = choice.recommended
    if "gate" in expect:
        return choice.gate is not None and expect["gate"] in choice.gate.kind
    if "gap" in expect and not any("no row" in text for text in choice.conflicts):
        return False
    if winner is None:
        return False
    if "recipe" in expect:
        advice = recipe(choice, choice.requirement)
        return all(
            any(word in advice[field].value for word in words)
            for field, words in expect["recipe"].items()
        )
    checks = {
        "model": lambda words: winner.model in words,
        "not_model": lambda words: winner.model not in words,
        "family": lambda words: winner.family in words,
        "not_family": lambda words: winner.family not in words,
        "not_weights": lambda words: winner.weights not in words,
        "pretrained": lambda wanted: (winner.weights is not None) == wanted,
        "accuracy_unknown": lambda wanted: (winner.accuracy is None) == wanted,
        "gap": lambda _wanted: True,
    }
    return all(checks[what](wanted) for what, wanted in expect.items())


def test_most_answers_are_the_taught_ones_and_each_other_one_is_explained(store: Evidence) -> None:
    assert len(SCENARIOS) == 30
    other = {}
    for scenario in SCENARIOS:
        choice = _answer(scenario, store)
        if not _as_taught(choice, scenario["expect"]):
            winner = choice.recommended
            other[scenario["name"]] = winner.name if winner else "nothing"
    assert set(other) == set(EXPLAINED), other
    assert len(SCENARIOS) - len(other) >= LEAST


@pytest.mark.parametrize("name", sorted(EXPLAINED))
def test_a_measurement_speaks_against_what_is_taught(store: Evidence, name: str) -> None:
    scenario = next(one for one in SCENARIOS if one["name"] == name)
    choice = _answer(scenario, store)
    winner = choice.recommended
    assert winner is not None
    assert (winner.model, _against(choice, winner, scenario["expect"])) == EXPLAINED[name]


def _against(choice: Choice, winner: Candidate, taught: dict[str, Any]) -> list[Against]:
    """Of each taught network that was measured, in the way that comes nearest to the answer."""
    rivals = {
        one.model: one
        for one, _ in reversed(choice.why_not)
        if one.model in taught.get("model", ()) or one.family in taught.get("family", ())
        if one.is_measured
    }
    return [
        Against(model, *_beside(winner, one), _why_not(choice, winner, one))
        for model, one in sorted(rivals.items())
    ]


def _beside(winner: Candidate, one: Candidate) -> tuple[float, float]:
    """Points that the winner is more accurate by, and its time over the other's."""
    assert winner.accuracy is not None
    assert one.accuracy is not None
    points = 100 * (winner.accuracy.value - one.accuracy.value)
    return round(points, 1), round(_seconds(winner) / _seconds(one), 2)


def _seconds(one: Candidate) -> float:
    assert one.cost is not None
    return one.cost.seconds


def _why_not(choice: Choice, winner: Candidate, one: Candidate) -> str:
    reasons = (why for why, holds in REASONS.items() if holds(choice, winner, one))
    return next(reasons, "nothing that was measured")


def _is_beaten(choice: Choice, _winner: Candidate, one: Candidate) -> bool:
    return any(dominates(other, one) for other in choice.front)


def _takes_too_long(choice: Choice, _winner: Candidate, one: Candidate) -> bool:
    return (one.hours or 0.0) > (choice.requirement.hours or math.inf)


def _is_dear(_choice: Choice, winner: Candidate, one: Candidate) -> bool:
    """Each doubling of the time has to bring a hundredth (decision 0019)."""
    points, times = _beside(winner, one)
    return -points < math.log2(1 / times)


def _wins_if_as_fast(_choice: Choice, winner: Candidate, one: Candidate) -> bool:
    as_fast = replace(one, cost=winner.cost)
    return best([as_fast, winner], "balanced", False) is as_fast


REASONS: dict[str, Callable[[Choice, Candidate, Candidate], bool]] = {
    BEATEN: _is_beaten,
    LONG: _takes_too_long,
    DEAR: _is_dear,
    SLOW: _wins_if_as_fast,
}
