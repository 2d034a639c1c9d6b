"""Measuring on demand: what is asked for, in which order, and when it ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import made_up
from vertebra.bench import Floor, Outcome
from vertebra.choice import Requirement, choose
from vertebra.choice.cost_model import LEAST_NETWORKS
from vertebra.core import VertebraError
from vertebra.evidence import Evidence
from vertebra.zoo import get, list_models

ASKED = Requirement(images=20_000, engines=("eager",), precisions=("fp32",), threads=2)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were measured, in order; each takes what its work takes."""
    names: list[str] = []
    floors: set[int] = set()

    def run(wanted: Any, store: Evidence, *, force: bool, floor: Floor, **_rest: Any) -> Outcome:
        outcome = Outcome()
        names.append(" ".join(cell.target for cell in wanted))
        assert force == (len(wanted) > 1)
        floors.add(id(floor))
        assert len(floors) == 1  # kept from one to the next
        for cell in wanted:
            if cell.target == "convnext_tiny":
                outcome.unavailable.append((cell, "it does not run"))
                continue
            made = made_up.measurement(cell.target)
            conditions, extra = made.conditions, {**made.extra, "turns": str(len(names))}
            if cell.workload == "train":
                names[-1] += " steps"
                conditions = replace(conditions, input_shape=cell.input_shape, workload="train")
            at = f"2026-02-01T00:{len(names):02}:00+00:00"
            new = replace(made, conditions=conditions, extra=extra, measured_at=at)
            store.add([new], made_up.MACHINE)
        return outcome

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
    # No prediction is left that would beat it but of the one that cannot be measured.
    better = [text for text in choice.notes if "may be the better choice" in text]
    assert all(text.startswith("convnext_tiny in") for text in better)
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


def test_at_last_the_winner_takes_turns_with_those_that_time_alone_put_behind_it(
    tmp_path: Path, measured: list[str]
) -> None:
    """EfficientNet-B3 takes 117 ms by the old measurement and would fit into 95."""
    store = _store(tmp_path)
    store.add([made_up.measurement(name) for name in ("resnet50", "efficientnet_b3", "vgg16")])
    asked = replace(ASKED, images=300_000, latency_ms=95.0)
    assert any("measure them in turn" in text for text in _notes(asked, store))
    choice = choose(asked, store, machine=made_up.MACHINE, seconds=600)
    assert choice.recommended is not None
    in_turn = [names.split() for names in measured if " " in names]
    assert [choice.recommended.model, "efficientnet_b3"] in in_turn
    assert not any("vgg16" in names for names in in_turn)
    # Nothing is left to tell apart.
    assert not any("measure them in turn" in text for text in choice.notes)
    assert not any("--force" in command for command in choice.proposals)


def _notes(asked: Requirement, store: Evidence) -> tuple[str, ...]:
    return choose(asked, store, machine=made_up.MACHINE).notes


def test_the_winner_s_own_step_is_measured_where_hours_are_asked_for(
    tmp_path: Path, measured: list[str]
) -> None:
    asked = replace(ASKED, hours=1000.0)
    choice = choose(asked, _store(tmp_path), machine=made_up.MACHINE, seconds=600)
    assert choice.recommended is not None
    assert f"{choice.recommended.model} steps" in measured
    assert not choice.recommended.hours_guessed


def test_one_that_takes_no_images_of_that_size_is_told_of_and_passed_over(
    tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import vertebra.choice.measuring as module

    cells = module.cells

    def refusing(models: list[str], *rest: Any, **options: Any) -> Any:
        if models == ["alexnet"]:
            raise VertebraError("alexnet takes no such images")
        return cells(models, *rest, **{**options, "image_size": None})

    monkeypatch.setattr(module, "cells", refusing)
    told: list[str] = []
    asked = replace(ASKED, input_size=225)
    choose(asked, _store(tmp_path), machine=made_up.MACHINE, seconds=600, tell=told.append)
    assert "alexnet: alexnet takes no such images" in told
    assert len(measured) > 5


def test_time_that_is_up_ends_it_after_the_present_one(
    tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes ten seconds here, and there are thirty-five."""
    monkeypatch.setattr(
        "vertebra.choice.measuring.time", SimpleNamespace(monotonic=lambda: 10.0 * len(measured))
    )
    choose(ASKED, _store(tmp_path), machine=made_up.MACHINE, seconds=35)
    assert len(measured) == 4


def test_all_that_are_near_take_turns_once_and_are_then_told_apart(
    tmp_path: Path, measured: list[str]
) -> None:
    """Five that are each a little slower and a little better than ResNet-50."""
    store = _store(tmp_path)
    first = made_up.measurement("resnet50")
    store.add([first])
    names = ["convnext_base", "swin_b", "efficientnet_b4", "swin_s", "convnext_small"]
    for place, name in enumerate(names):
        near = made_up.measurement(name)
        slower = (1.05 + 0.02 * place) * first.p50
        store.add([replace(near, p50=slower, images_per_second=1 / slower)])
    asked = replace(
        ASKED,
        images=300_000,
        latency_ms=1e3 * first.p50,
        exclude=tuple(n for n in list_models() if n not in (*names, "resnet50")),
    )
    assert any("measure them in turn" in text for text in _notes(asked, store))
    # By the work alone all take much longer, so the new times leave ResNet-50 alone.
    choice = choose(asked, store, machine=made_up.MACHINE, seconds=600)
    in_turn = [set(some.split()) for some in measured if " " in some]
    assert in_turn == [{"resnet50", *names}]
    assert choice.recommended is not None
    assert not any("measure them in turn" in text for text in choice.notes)


def test_a_p99_is_looked_for_beyond_the_smallest_networks(
    tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its median is predicted, which orders the search, and what wins has its p99."""
    made = made_up.measurement
    monkeypatch.setattr(
        made_up, "measurement", lambda name: replace(made(name), p99=1.3 * made(name).p50)
    )
    asked = replace(ASKED, percentile="p99", prefer="accuracy", latency_ms=300.0)
    choice = choose(asked, _store(tmp_path), machine=made_up.MACHINE, seconds=600)
    assert len(measured) > LEAST_NETWORKS
    assert choice.recommended is not None
    assert choice.recommended.accuracy is not None
    assert choice.recommended.accuracy.value > 0.82
