"""Thirty situations with the answers that are taught for them, on what was measured of 46 networks.

The measurements (``measured.json``) are real, of the machine that docs/benchmarks.md describes.
Where the answer is not the taught one, a measurement has to say why: see :data:`EXPLAINED`.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from vertebra.choice import Choice, Requirement, choose, recipe
from vertebra.choice.order import dominates
from vertebra.evidence import Evidence
from vertebra.machine import Machine

HERE = Path(__file__).parent
SCENARIOS: list[dict[str, Any]] = yaml.safe_load((HERE / "scenarios.yaml").read_text())
LEAST = 24
# By scenario, what was measured that speaks against the taught answer.
EXPLAINED: dict[str, str] = {}


@functools.cache
def _measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "measured.json").read_text())
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    store = Evidence(str(tmp_path_factory.mktemp("scenarios") / "evidence.sqlite"))
    store.import_(_measured())
    return store


def _machine() -> Machine:
    (plain,) = _measured()["machines"].values()
    lists = {name: tuple(value) for name, value in plain.items() if isinstance(value, list)}
    return Machine(**{**plain, **lists})


def _answer(scenario: dict[str, Any], store: Evidence) -> Choice:
    lists = {name: tuple(v) for name, v in scenario["needs"].items() if isinstance(v, list)}
    return choose(Requirement(**{**scenario["needs"], **lists}), store, machine=_machine())


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
    """The taught network is beaten on everything, or is not worth its time at the told rate."""
    scenario = next(one for one in SCENARIOS if one["name"] == name)
    choice = _answer(scenario, store)
    winner = choice.recommended
    assert winner is not None
    wanted = scenario["expect"]
    taught = [
        (one, says)
        for one, says in choice.why_not
        if one.model in wanted.get("model", ()) or one.family in wanted.get("family", ())
    ]
    assert taught
    for one, says in taught:
        assert one.is_measured or "published" in says or "unmeasured" in says, says
        beaten = dominates(winner, one) or "a doubling of the time" in says
        assert beaten or "dominated by" in says or "beyond" in says or "smallest" in says, says
