"""Times of two versions of an engine, or with other options, are not held against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from chosen import chosen

import made_up
from vertebra.bench.plan import asked_for
from vertebra.evidence import Evidence, Measurement
from vertebra.runtime import Setup, version

LATER = "2026-02-01T00:00:00+00:00"


def _timed(
    name: str, options: Mapping[str, str], engine_version: str = "1.0", at: str = LATER
) -> Measurement:
    made = made_up.measurement(name)
    conditions = replace(made.conditions, options=options, engine_version=engine_version)
    return replace(made, conditions=conditions, measured_at=at)


def _store(tmp_path: Path) -> Evidence:
    return Evidence(str(tmp_path / "evidence.sqlite"))


def test_what_was_timed_in_an_older_way_is_left_out_and_named(tmp_path: Path) -> None:
    store = _store(tmp_path)
    names = ("resnet50", "convnext_tiny", "efficientnet_b0", "mobilenet_v2", "vgg16")
    store.add([made_up.measurement(name) for name in names])
    everything = chosen(store, images=20_000)
    assert "5 of" in everything.notes[0]
    assert not any(note.startswith("left out") for note in everything.notes)

    store.add([_timed("resnet18", {"freed_memory": "kept"})])
    choice = chosen(store, images=20_000)
    assert choice.recommended is not None
    assert choice.recommended.model == "resnet18"
    assert "1 of" in choice.notes[0]
    (said,) = [note for note in choice.notes if note.startswith("left out")]
    assert "and 2 more took in fp32" in said
    assert sum(name in said for name in names) == 3
    assert not any(one.is_measured for one, _ in choice.why_not if one.engine == "eager")


def test_the_same_network_in_both_ways_is_not_called_left_out(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.add([made_up.measurement("resnet50"), _timed("resnet50", {"freed_memory": "kept"})])
    choice = chosen(store, images=20_000)
    assert not any(note.startswith("left out") for note in choice.notes)


def test_the_way_of_this_installation_comes_before_a_newer_one(tmp_path: Path) -> None:
    """As after another's rows were imported."""
    store = _store(tmp_path)
    setup = Setup("eager", threads=2)
    own = _timed(
        "resnet50",
        asked_for(setup, "stream"),
        version("eager"),
        at="2026-01-01T00:00:00+00:00",
    )
    store.add([own, _timed("resnet18", {}, "0.1")])
    choice = chosen(store, images=20_000)
    assert choice.recommended is not None
    assert choice.recommended.model == "resnet50"
