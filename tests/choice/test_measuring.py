"""Measuring on demand: what is asked for, in which order, and when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import made_up
from vertebra.bench import Outcome
from vertebra.choice import Requirement, choose
from vertebra.choice.cost_model import LEAST_NETWORKS
from vertebra.evidence import Evidence
from vertebra.zoo import get

ASKED = Requirement(images=20_000, engines=("eager",), precisions=("fp32",), threads=2)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were measured, in order; each takes what its work takes."""
    names: list[str] = []

    def run(wanted: Any, store: Evidence, **_rest: Any) -> Outcome:
        (cell,) = wanted
        names.append(cell.target)
        if cell.target == "convnext_tiny":
            return Outcome(unavailable=[(cell, "it does not run")])
        store.add([made_up.measurement(cell.target)], made_up.MACHINE)
        return Outcome()

    monkeypatch.setattr("vertebra.choice.measuring.run", run)
    return names


def _store(tmp_path: Path) -> Evidence:
    return Evidence(str(tmp_path / "evidence.sqlite"))


def test_small_ones_of_many_families_come_first_then_what_would_win(
    tmp_path: Path, measured: list[str]
) -> None:
    told: list[str] = []
    choice = choose(ASKED, _store(tmp_path), machine=made_up.MACHINE, seconds=600, tell=told.append)
    first = measured[:LEAST_NETWORKS]
    assert len({get(name).family for name in first}) == LEAST_NETWORKS
    assert choice.recommended is not None
    assert choice.recommended.is_measured
    # No prediction is left that would beat it.
    assert not any("may be the better choice" in text for text in choice.notes) or (
        "convnext_tiny" in measured
    )
    assert len(measured) == len(set(measured)) < 40


def test_one_that_cannot_be_measured_is_told_of_and_the_next_is_tried(
    tmp_path: Path, measured: list[str]
) -> None:
    told: list[str] = []
    asked = Requirement(
        images=20_000,
        engines=("eager",),
        precisions=("fp32",),
        threads=2,
        exclude=("*large", "*xlarge", "*base", "*_b", "*_l", "*_h_*", "*small", "vit*", "swin*"),
    )
    choice = choose(asked, _store(tmp_path), machine=made_up.MACHINE, seconds=600, tell=told.append)
    assert "convnext_tiny" in measured
    assert any("it does not run" in text for text in told)
    assert measured.index("convnext_tiny") < len(measured) - 1
    assert choice.recommended is not None
    assert choice.recommended.model != "convnext_tiny"


def test_time_that_is_up_ends_it_after_the_present_one(tmp_path: Path, measured: list[str]) -> None:
    choose(ASKED, _store(tmp_path), machine=made_up.MACHINE, seconds=1e-9)
    assert len(measured) <= 1
