"""``vertebra evidence``: what was measured, out of one store and into another."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from command import run

from vertebra.evidence import Conditions, Evidence, Measurement
from vertebra.machine import describe

HERE = describe()
OTHER = replace(HERE, processor="Another")

CONDITIONS = Conditions(
    fingerprint="f" * 16,
    input_shape=(1, 3, 224, 224),
    workload="stream",
    engine="eager",
    engine_version="2.11.0",
    layout="contiguous",
    precision="fp32",
    threads=2,
    device="cpu",
    machine=HERE.fingerprint,
)
ONE = Measurement(
    conditions=CONDITIONS,
    model="resnet50",
    measured_at="2025-11-29T08:30:00Z",
    p50=0.0583,
    p90=0.0604,
    p99=None,
    interval=(0.0581, 0.0586),
    samples=(0.0583,) * 9,
    images_per_second=17.1,
    floor=0.02,
    load=0.5,
    first=0.1,
    memory=150 << 20,
    file=98 << 20,
)
TWO = replace(
    ONE,
    conditions=replace(CONDITIONS, engine="openvino", precision="int8", engine_version="2025.1"),
    measured_at="2025-11-29T09:30:00Z",
    p50=0.00123,
    interval=(0.00121, 0.00125),
    model="mobilenet_v2",
    cost_only=True,
    warnings=("the machine was busy",),
)
ELSEWHERE = replace(
    ONE,
    conditions=replace(CONDITIONS, machine=OTHER.fingerprint),
    p50=0.01,
    interval=(0.009, 0.011),
)


@pytest.fixture(autouse=True)
def _in_a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERTEBRA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VERTEBRA_EVIDENCE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The user's own store, with two measurements of this machine and one of another."""
    evidence = Evidence()
    evidence.add([ONE, TWO], machine=HERE)
    evidence.add([ELSEWHERE], machine=OTHER)
    return tmp_path / "home" / "evidence.sqlite"


def test_an_empty_store_says_how_it_is_filled(tmp_path: Path) -> None:
    for arguments in (("evidence",), ("evidence", "list", "--engine", "eager")):
        code, out, err = run(*arguments)
        assert code == 0
        assert "vertebra bench MODEL" in out
        assert str(tmp_path / "home" / "evidence.sqlite") in out
        assert err == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("store")
def test_a_table_of_this_machine() -> None:
    code, out, _ = run("evidence")
    head, first, second, *rest = out.splitlines()
    assert code == 0
    assert head.split()[:4] == ["model", "engine", "version", "precision"]
    assert first.split() == [
        *("mobilenet_v2", "openvino", "2025.1", "int8", "contiguous", "stream", "cpu", "1", "2"),
        *("1.230", "(1.210", "to", "1.250)", "60.4", "150.0", "MiB", "2025-11-29", "09:30", "here"),
    ]
    assert second.split()[0] == "resnet50"
    assert rest == [
        "1 measurement with warnings: --json says which",
        "cost only, not accurate: mobilenet_v2 in int8",
        "1 measurement of other machines: vertebra evidence --all-machines",
    ]


@pytest.mark.usefixtures("store")
def test_a_table_of_all_machines() -> None:
    _, out, _ = run("evidence", "list", "--all-machines", "--model", "resnet*")
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["other", "here"] or [
        line.split()[-1] for line in out.splitlines()[1:]
    ] == ["here", "other"]


@pytest.mark.usefixtures("store")
def test_rows_that_differ_in_an_option_show_it() -> None:
    """And only that one: what all of them have tells none from another."""
    for exporter in ("dynamo", "torchscript"):
        options = {"exporter": exporter, "streams": "1"}
        engine = replace(CONDITIONS, engine="onnxruntime", options=options)
        Evidence().add([replace(ONE, conditions=engine)], machine=HERE)
    _, out, _ = run("evidence", "list", "--engine", "onnxruntime")
    assert "exporter=dynamo" in out
    assert "exporter=torchscript" in out
    assert "streams" not in out
    _, out, _ = run("evidence", "list", "--engine", "eager")
    assert "options" not in out


def test_only_other_machines_have_measured() -> None:
    Evidence().add([ELSEWHERE], machine=OTHER)
    code, out, _ = run("evidence")
    assert code == 0
    assert out == "1 measurement of other machines: vertebra evidence --all-machines\n"


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("filters", "models"),
    [
        (("--model", "resnet50"), ["resnet50"]),
        (("--model", "*net*"), ["mobilenet_v2", "resnet50"]),
        (("--engine", "openvino"), ["mobilenet_v2"]),
        (("--precision", "fp32"), ["resnet50"]),
        (("--precision", "fp32", "--engine", "openvino"), []),
        (("--all-machines",), ["mobilenet_v2", "resnet50", "resnet50"]),
    ],
)
def test_filters(filters: tuple[str, ...], models: list[str]) -> None:
    code, out, _ = run("evidence", "list", *filters, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == "vertebra.evidence/1"
    assert [one["model"] for one in document["measurements"]] == models


def test_the_json_of_a_list_can_be_imported(store: Path, tmp_path: Path) -> None:
    _, out, _ = run("evidence", "--engine", "eager", "--json")
    (tmp_path / "some.json").write_text(out)
    run("evidence", "import", "some.json", "--store", "other.sqlite")
    other = Evidence("other.sqlite")
    assert other.measurements() == [ONE]
    assert other.machines() == {HERE.fingerprint: Evidence(str(store)).machines()[HERE.fingerprint]}


def test_out_and_in(store: Path, tmp_path: Path) -> None:
    code, out, _ = run("evidence", "export", "team.json")
    assert code == 0
    assert out.splitlines() == [f"3 measurements of {store}", "team.json"]
    code, out, _ = run("evidence", "import", "team.json", "--store", "other.sqlite")
    assert code == 0
    assert out.splitlines() == [
        "3 measurements added, 0 known before",
        str(tmp_path / "other.sqlite"),
    ]
    _, out, _ = run("evidence", "import", "team.json", "--store", "other.sqlite", "--json")
    assert json.loads(out) == {
        "schema": "vertebra.evidence-import/1",
        "store": str(tmp_path / "other.sqlite"),
        "added": 0,
        "known": 3,
    }
    assert Evidence("other.sqlite").export() == Evidence(str(store)).export()
    _, out, _ = run("evidence", "export", "team.json", "--json")
    assert json.loads(out)["path"] == "team.json"


def test_through_a_pipe(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run("evidence", "export", "-")
    assert json.loads(out) == Evidence(str(store)).export()
    monkeypatch.setattr("sys.stdin", io.StringIO(out))
    _, said, _ = run("evidence", "import", "-", "--store", "other.sqlite")
    assert said.startswith("3 measurements added")


def test_the_store_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERTEBRA_EVIDENCE", str(tmp_path / "team.sqlite"))
    Evidence().add([ONE])
    assert "resnet50" in run("evidence")[1]
    assert "nothing was measured yet" in run("evidence", "--store", "other.sqlite")[1]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("lsit",), "unknown action 'lsit'; did you mean list?"),
        (("delete",), "unknown action 'delete'; known: export, import, list"),
        (("list", "resnet50"), "list takes no file, got 'resnet50'; to list one model: --model"),
        (("export",), "export needs a file: vertebra evidence export FILE, or -"),
        (("import",), "import needs a file"),
        (("export", "x", "--engine", "eager"), "export has no use for --engine"),
        (
            ("import", "x", "--all-machines", "--model", "y"),
            "no use for --model and --all-machines",
        ),
        (("--engine", "openvin"), "unknown engine among those measured: 'openvin'; did you mean"),
        (("--engine", "tensorrt"), "'tensorrt'; known: eager, openvino"),
        (("--precision", "fp23"), "did you mean fp32?"),
        (("--model", "resnet5"), "did you mean resnet50?"),
        (("--model", "vgg*"), "no model that was measured matches 'vgg*'"),
        (("--engine", "openvin", "--json"), "did you mean openvino?"),
        (("import", "gone.json"), "gone.json: No such file or directory"),
        (("import", "bad.json"), "bad.json is no JSON"),
        (("import", "deep.json"), "deep.json is no JSON"),
        (("import", "bytes.json"), "bytes.json is no JSON"),
        (("import", "other.json"), "got an object without a schema"),
        (("export", "nowhere/x.json"), "there is no folder nowhere to write x.json into"),
        (("export", "."), "export takes a file, and . is a folder"),
        (("--store", "postgre://x/y"), "did you mean postgresql?"),
        (("--store", "bad.json"), "bad.json is no evidence store"),
        (("--modle", "x"), "--modle"),
    ],
)
def test_refused(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    (tmp_path / "bad.json").write_text('{"schema": ')
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "other.json").write_text('{"images": 3}')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, out, err = run("evidence", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_damaged_store_is_kept_and_the_next_call_begins_anew(store: Path) -> None:
    store.write_bytes(b"garbage" * 999)
    code, out, err = run("evidence")
    (kept,) = store.parent.glob("evidence.sqlite.damaged-*")
    assert code == 2
    assert out == ""
    assert str(kept) in err
    assert "the next call begins a new one" in err
    assert kept.read_bytes() == b"garbage" * 999
    assert "nothing was measured yet" in run("evidence")[1]


def test_other_verbs_do_not_wait_for_the_database() -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom vertebra.cli import main\nmain(['models', 'resnet18'])\n"
        "assert 'sqlalchemy' not in sys.modules\n"
        "main(['evidence'])\n"
        "assert not {'torch', 'numpy', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
