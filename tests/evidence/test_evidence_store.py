"""What is put into a store comes out of it, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from measured import CONDITIONS, measured

from vertebra.core import VertebraError
from vertebra.evidence import Evidence, Measurement
from vertebra.evidence.rows import row_of
from vertebra.machine import Machine

MACHINE = Machine("Linux 6.1 x86_64", "A processor", 2, ("avx2", "amx_int8"), 8 << 30)


def test_every_bit_of_every_number_comes_back(store: str) -> None:
    one = measured(
        3,
        p99=math.nextafter(0.3, 1),
        samples=tuple(1 / (number + 3) for number in range(500)),
        parity=2**-1074,
        cost_only=True,
        warnings=("another process used 12 % of a core", "Ü 漢 \U0001f9b4"),
        extra={"none": None, "rate": 1e-7, "sweep": [1, 2.5, None, True, {"deep": "x"}]},
        options={"graph": "all", "inter_op": "1"},
    )
    with Evidence(store) as evidence:
        assert evidence.add([one]) == 1
        (back,) = evidence.measurements()
        assert back == one
        assert repr(back) == repr(one)
        assert back.conditions.key == one.conditions.key
        assert evidence.fresh(one.conditions.key) == one


def test_a_store_that_is_not_there_is_empty_and_stays_so(tmp_path: Path) -> None:
    evidence = Evidence(str(tmp_path / "a" / "evidence.sqlite"))
    assert evidence.measurements() == []
    assert evidence.machines() == {}
    assert evidence.known("engine") == []
    assert evidence.fresh("0" * 20) is None
    assert evidence.export()["measurements"] == []
    assert evidence.add([]) == 0
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_is_an_empty_store(store: str) -> None:
    assert Evidence(store).measurements() == []
    assert Evidence(store).machines() == {}


def test_an_empty_file_is_an_empty_store(tmp_path: Path) -> None:
    """As another process leaves it that has just begun to make one."""
    (tmp_path / "evidence.sqlite").touch()
    evidence = Evidence(str(tmp_path / "evidence.sqlite"))
    assert evidence.measurements() == []
    assert evidence.add([measured()]) == 1


def test_the_same_is_kept_once(store: str) -> None:
    evidence = Evidence(store)
    assert evidence.add([measured(1), measured(2), measured(1)]) == 2
    assert evidence.add([measured(2), measured(3)]) == 1
    # Another program may write 1.0 as 1.
    assert evidence.add([replace(measured(3), load=1)]) == 0
    assert len(evidence.measurements(latest=False)) == 3
    assert all(type(one.load) is float for one in evidence.measurements())


def test_the_newest_of_equal_conditions(store: str) -> None:
    evidence = Evidence(store)
    evidence.add([measured(5), measured(7), measured(6, threads=4)])
    evidence.add([measured(1), measured(2, threads=4)])
    assert evidence.measurements() == [measured(7), measured(6, threads=4)]
    assert [one.measured_at[-6:-1] for one in evidence.measurements(latest=False)] == [
        *("07:00", "06:00", "05:00", "02:00", "01:00")
    ]
    assert evidence.fresh(measured().conditions.key) == measured(7)
    assert evidence.fresh("nothing") is None


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("2025-11-01T10:00:00Z", "2025-11-01T10:00:00.5Z"),
        ("2025-11-01T10:00:00.25+00:00", "2025-11-01T10:00:00.5"),
        ("2025-11-01T12:00:00+02:00", "2025-11-01T10:30:00Z"),
        ("0900-11-01T12:00:00Z", "2025-11-01T10:30:00Z"),
    ],
)
def test_newer_is_meant_by_the_clock_and_not_by_the_text(
    tmp_path: Path, older: str, newer: str
) -> None:
    evidence = Evidence(str(tmp_path / "evidence.sqlite"))
    evidence.add([measured(measured_at=newer), measured(measured_at=older)])
    assert [one.measured_at for one in evidence.measurements(latest=False)] == [newer, older]
    assert [one.measured_at for one in evidence.measurements()] == [newer]


def test_of_one_second_the_order_is_the_same_in_every_store(tmp_path: Path, database: str) -> None:
    some = [measured(1, p50=float(number)) for number in range(20)]
    first, second = Evidence(str(tmp_path / "evidence.sqlite")), Evidence(database)
    first.add(some)
    for one in reversed(some):
        second.add([one])
    assert first.measurements(latest=False) == second.measurements(latest=False)
    assert first.measurements() == second.measurements() == first.measurements(latest=False)[:1]


def test_filters(store: str) -> None:
    evidence = Evidence(store)
    some = [
        measured(1),
        measured(2, model="resnet18", fingerprint="e" * 16),
        measured(3, engine="openvino", precision="bf16"),
        measured(4, input_shape=(8, 3, 224, 224), workload="offline"),
        measured(5, machine="b" * 16),
        measured(6, model="odd[1]*", fingerprint="d" * 16),
    ]
    evidence.add(some)
    assert len(evidence.measurements()) == 6

    def numbers(**wanted: Any) -> list[int]:
        return [some.index(one) + 1 for one in evidence.measurements(**wanted)]

    assert numbers(model="resnet50") == [5, 4, 3, 1]
    assert numbers(model="resnet*") == [5, 4, 3, 2, 1]
    assert numbers(model="RESNET*") == []
    assert numbers(model="odd[1]*") == [6]
    assert numbers(model="nothing") == []
    assert numbers(fingerprint="e" * 16) == [2]
    assert numbers(engine="openvino") == numbers(precision="bf16") == [3]
    assert numbers(workload="offline") == numbers(batch=8) == [4]
    assert numbers(machine="b" * 16) == [5]
    assert numbers(model="resnet50", engine="eager", machine="a" * 16) == [4, 1]
    assert evidence.known("engine") == ["eager", "openvino"]
    assert evidence.known("batch") == [1, 8]
    with pytest.raises(VertebraError, match="did you mean engine"):
        evidence.known("engin")


def test_a_name_does_not_hide_another_name_of_equal_conditions(store: str) -> None:
    """Two names of one graph: the newest of each name, when it is asked for by name."""
    evidence = Evidence(store)
    evidence.add([measured(1), measured(2, model="timm/resnet50")])
    assert evidence.measurements(model="resnet50") == [measured(1)]
    assert evidence.measurements() == [measured(2, model="timm/resnet50")]


def test_machines(store: str) -> None:
    evidence = Evidence(store)
    assert evidence.add([measured(1)], machine=MACHINE) == 1
    assert evidence.add([], machine=replace(MACHINE, cores=64)) == 0
    # Another release of the kernel is the same machine: what was said first stays.
    evidence.add([measured(2)], machine=replace(MACHINE, system="Linux 6.2 x86_64"))
    found = evidence.machines()
    assert len(found) == 2
    assert found[MACHINE.fingerprint] == {
        "system": "Linux 6.1 x86_64",
        "processor": "A processor",
        "cores": 2,
        "instruction_sets": ["avx2", "amx_int8"],
        "memory": 8 << 30,
        "accelerators": [],
    }


def test_one_store_into_another(store: str, tmp_path: Path) -> None:
    evidence = Evidence(store)
    evidence.add([measured(number, threads=1 + number % 3) for number in range(20)], MACHINE)
    document = json.loads(json.dumps(evidence.export()))
    assert document["schema"] == "vertebra.evidence/1"
    other = Evidence(str(tmp_path / "other.sqlite"))
    other.add([measured(19, threads=2), measured(99)])
    assert other.import_(document) == (19, 1)
    assert other.import_(document) == (0, 20)
    assert other.machines() == evidence.machines()
    assert Evidence(store).import_(other.export()) == (1, 20)
    assert Evidence(store).export() == other.export()


def test_a_field_of_the_future_changes_no_identity(store: str) -> None:
    """What is at its default is not part of what is kept, and so not of its hash."""
    evidence = Evidence(store)
    evidence.add([measured(1)])
    plain = evidence.export()
    for name in ("parity", "cost_only", "warnings", "extra"):
        del plain["measurements"][0][name]
    assert evidence.import_(plain) == (0, 1)


def test_many_at_once(store: str) -> None:
    """More than one statement takes."""
    some = [measured(number, threads=1 + number) for number in range(1200)]
    evidence = Evidence(store)
    assert evidence.add(some) == 1200
    assert evidence.add([*some, measured(1200)]) == 1
    assert len(evidence.measurements()) == 1200


def test_all_or_none(store: str) -> None:
    evidence = Evidence(store)
    with pytest.raises(VertebraError, match="'p50' should be a finite number, got nan"):
        evidence.add([measured(1), measured(2, p50=math.nan)])
    assert evidence.measurements() == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"measured_at": "yesterday"}, "'measured_at' should be a time like"),
        ({"samples": (1.0, math.inf)}, "'samples' should be a finite number"),
        ({"extra": {"x": math.nan}}, "'extra' should be a finite number"),
        ({"extra": {"x": object()}}, "'extra' should be what JSON can hold"),
        ({"input_shape": ()}, "'input_shape' should be (batch, ...)"),
        ({"memory": 2**63}, "'memory' should be a whole number"),
        ({"model": "a\0b"}, "'model' should be text"),
        ({"model": "\ud800"}, "'model' should be text"),
        ({"model": "m" * 601}, "'model' has 601 characters, at most 600"),
    ],
)
def test_what_no_measurement_has(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    evidence = Evidence(str(tmp_path / "evidence.sqlite"))
    with pytest.raises(VertebraError) as caught:
        evidence.add([measured(**changes)])
    assert says in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_is_searched_by_on_every_database(store: str) -> None:
    name = "漢" * 600
    Evidence(store).add([measured(model=name)])
    assert len(Evidence(store).measurements(model=name)) == 1


def test_a_store_beside_other_tables_of_a_servers_database(database: str) -> None:
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE measurements (id int)")
    Evidence(database).add([measured()])
    assert len(Evidence(database).measurements()) == 1


def test_a_store_in_memory() -> None:
    evidence = Evidence("sqlite://")
    assert evidence.measurements() == []
    evidence.add([measured()])
    assert evidence.measurements() == [measured()]


@pytest.mark.parametrize("name", ["evidence.sqlite", "a b?c#d%41.sqlite", "漢.db", "no-suffix"])
def test_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Evidence(name).add([measured()])
    assert (tmp_path / name).is_file()
    assert Evidence(str(tmp_path / name)).measurements() == [measured()]
    assert Evidence(name).name == str(tmp_path / name)


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERTEBRA_EVIDENCE", raising=False)
    monkeypatch.delenv("VERTEBRA_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    if sys.platform == "linux":
        assert Evidence().name == str(tmp_path / "data" / "vertebra" / "evidence.sqlite")
    monkeypatch.setenv("VERTEBRA_HOME", str(tmp_path / "home"))
    assert Evidence().name == str(tmp_path / "home" / "evidence.sqlite")
    monkeypatch.setenv("VERTEBRA_EVIDENCE", str(tmp_path / "team.db"))
    assert Evidence().name == str(tmp_path / "team.db")
    monkeypatch.setenv("VERTEBRA_EVIDENCE", f"sqlite:///{tmp_path}/url.db")
    assert Evidence().name == str(tmp_path / "url.db")
    assert Evidence(str(tmp_path / "given")).name == str(tmp_path / "given")


def test_reading_loads_neither_pytorch_nor_numpy(tmp_path: Path) -> None:
    Evidence(str(tmp_path / "evidence.sqlite")).add([measured()])
    code = (
        "import sys, vertebra.evidence\n"
        "assert 'sqlalchemy' not in sys.modules\n"
        "found = vertebra.evidence.Evidence().measurements()\n"
        "print(len(found), sorted({'torch', 'numpy', 'scipy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "", "VERTEBRA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1 []\n"


def test_the_samples_are_what_they_seem() -> None:
    """Or the tests above would show little."""
    assert measured(1) != measured(2)
    assert measured(1).conditions == measured(2).conditions == CONDITIONS
    assert isinstance(measured(), Measurement)


def test_the_identity_of_a_measurement_never_changes() -> None:
    """Or every store would take what it holds for new when it is imported again."""
    row = row_of(measured(1))
    assert row["id"] == "07064cf069e9c5720bba6ee0ac7f53cba04512758aeafcd13aee67f1f6c4ed24"
    plain = json.loads(row["payload"])
    assert {"parity", "cost_only", "warnings", "extra"}.isdisjoint(plain)
    assert "options" not in plain["conditions"]
