"""What is no evidence is refused as a whole, and the first thing that is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from measured import measured

from vertebra.core import VertebraError
from vertebra.evidence import Evidence


def document(**changes: Any) -> dict[str, Any]:
    """Two measurements, the second with ``changes``; a change to None takes the field away."""
    plain = json.loads(json.dumps([measured(1).to_dict(), measured(2).to_dict()]))
    for name, value in changes.items():
        owner = plain[1] if name in plain[1] else plain[1]["conditions"]
        owner[name] = value
        if value is None:
            del owner[name]
    return {"schema": "vertebra.evidence/1", "machines": {}, "measurements": plain}


def deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


@pytest.mark.parametrize(
    ("nonsense", "says"),
    [
        (None, "got NoneType"),
        ([], "got a list"),
        ("text", "got str"),
        ({}, "got an object without a schema"),
        ({"schema": "vertebra.evidence/2"}, "'vertebra.evidence/1', got 'vertebra.evidence/2'"),
        ({"schema": 1}, "got 1"),
        ({"schema": "vertebra.evidence/1"}, "'measurements' should be a list"),
        (document() | {"measurements": {}}, "'measurements' should be a list"),
        (document() | {"machines": []}, "'machines' should be an object"),
        (document() | {"machines": {"": {}}}, "machine ''"),
        (document() | {"machines": {"abc": 3}}, "machine 'abc'"),
        (document() | {"machines": {"abc": {"memory": float("nan")}}}, "'machine abc'"),
        (document() | {"measurements": [3]}, "measurement 1 to import: a measurement should be"),
        (document(p50=None), "measurement 2 to import: a measurement needs 'p50'"),
        (document(engine=None), "measurement 2 to import: its conditions needs 'engine'"),
        (document(p50=-1.0), "'p50' should be above 0 and within its interval"),
        (document(interval=[0.1, 0.2]), "'p50' should be above 0 and within its interval"),
        (document(interval=[0.0, 9.0]), "'p50' should be above 0 and within its interval, 0 to 9"),
        (document(images_per_second=0.0), "'images_per_second' should be above 0"),
        (document(measured_at="2999-01-01T00:00:00Z"), "'measured_at' should be no time to come"),
        (document(p50="fast"), "'p50' should be a finite number, got 'fast'"),
        (document(p50=True), "'p50' should be a finite number, got True"),
        (document(p50=10**400), "'p50' should be a finite number"),
        (document(p90=float("inf")), "'p90' should be a finite number, got inf"),
        (document(memory=1.5), "'memory' should be a whole number, got 1.5"),
        (document(threads="two"), "'threads' should be a whole number"),
        (document(interval=[1, 2, 3]), "'interval' should be a list of 2, got a list of 3"),
        (document(samples="0.1"), "'samples' should be a list, got '0.1'"),
        (document(warnings=[1]), "'warnings' should be text, got 1"),
        (document(cost_only="no"), "'cost_only' should be true or false"),
        (document(options={"a": 1}), "'options' should be text, got 1"),
        (document(options=[]), "'options' should be an object"),
        (document(extra=[]), "'extra' should be an object"),
        (document(extra={"deep": deep(2000)}), "nested too deeply"),
        (document(model=7), "'model' should be text, got 7"),
        (document(input_shape=[0, 3]), "'input_shape' should be (batch, ...)"),
        (document(measured_at="32nd of May"), "'measured_at' should be a time"),
        (document(conditions=[]), "its conditions should be an object"),
        (document(p05=1.0), "unknown field of its conditions 'p05'"),
    ],
)
def test_nonsense(tmp_path: Path, nonsense: object, says: str) -> None:
    evidence = Evidence(str(tmp_path / "evidence.sqlite"))
    with pytest.raises(VertebraError) as caught:
        evidence.import_(nonsense)
    assert says in str(caught.value)
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == [], "the first, good measurement is not taken alone"


def test_a_mistyped_field_is_not_taken_for_another(tmp_path: Path) -> None:
    plain = document()
    plain["measurements"][0]["modle"] = "resnet18"
    with pytest.raises(VertebraError, match="unknown field of a measurement 'modle'; did you mean"):
        Evidence(str(tmp_path / "evidence.sqlite")).import_(plain)


def test_numbers_as_other_programs_write_them(tmp_path: Path) -> None:
    """1 for 1.0 and 8.0 for 8, and no key."""
    evidence = Evidence(str(tmp_path / "evidence.sqlite"))
    evidence.add([measured(2)])
    plain = document(load=1, threads=2.0, memory=float(2**40))
    del plain["measurements"][1]["key"]
    assert evidence.import_(plain) == (1, 1)


def test_what_is_there_twice_in_one_document_counts_once(tmp_path: Path) -> None:
    evidence = Evidence(str(tmp_path / "evidence.sqlite"))
    plain = document()
    plain["measurements"] *= 2
    assert evidence.import_(plain) == (2, 2)
