"""``vertebra bench`` as a user types it, wrong things included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import run

from html_reader import Reader

NET = ("resnet20", "--threads", "1")


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERTEBRA_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("VERTEBRA_EVIDENCE", raising=False)
        patch.setattr("vertebra.bench.measuring.WORST_FLOOR", 1e9)
        patch.setattr("vertebra.bench.pace._SLOWER", 1e9)
        yield


def test_a_bench_is_a_table_then_json_of_the_same_then_a_page(tmp_path: Path) -> None:
    code, out, err = run("bench", *NET, "--engine", "onnxruntime,cudagraphs")
    assert code == 0, err
    assert "resnet20" in out
    assert "unavailable: resnet20 cudagraphs fp32 x1:" in out
    assert "noise floor" in out
    assert out.splitlines()[-1].endswith("evidence.sqlite")
    assert "0 of 1 measured" in err

    code, out, err = run("bench", *NET, "--engine", "onnxruntime", "--json")
    document = json.loads(out)
    assert document["schema"] == "vertebra.bench/1"
    assert "1 known already, 0 to measure" in err
    (tmp_path / "a.json").write_text(out)
    (tmp_path / "b.json").write_text(out)
    code, out, _ = run("bench", "--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    assert code == 0
    assert "1.000" in out
    assert "slower" not in out

    page = tmp_path / "bench.html"
    code, out, _ = run("bench", *NET, "--engine", "onnxruntime", "--html", str(page), "-q")
    assert code == 0
    assert out.splitlines()[-1] == str(page)
    reader = Reader(page.read_text())
    assert not reader.unbalanced
    assert "resnet20" in reader.text
    assert "script" not in {tag for tag, _ in reader.elements}


def test_a_slower_second_bench_is_called_slower(tmp_path: Path) -> None:
    _, out, _ = run("bench", *NET, "--engine", "onnxruntime", "--json", "-q")
    document = json.loads(out)
    row = document["measurements"][0]
    row["floor"] = 0.02
    row["samples"] = [1e-3 * (1 + 0.001 * (i % 7)) for i in range(64)]
    (tmp_path / "a.json").write_text(json.dumps(document))
    row["samples"] = [1.2 * seconds for seconds in row["samples"]]
    (tmp_path / "b.json").write_text(json.dumps(document))
    _, out, _ = run(
        "bench", "--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--json"
    )
    compared = json.loads(out)["compared"][0]
    assert compared["differs"]
    assert compared["ratio"] == pytest.approx(1.2, rel=1e-3)
    _, out, _ = run("bench", "--compare", str(tmp_path / "b.json"), str(tmp_path / "a.json"))
    assert "faster" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name at least one network"),
        (("resnet2O",), "did you mean resnet20"),
        ((*NET, "--engine", "openvno"), "did you mean openvino"),
        ((*NET, "--precision", "bf61"), "did you mean bf16"),
        ((*NET, "--batch", "0"), "at least one image"),
        ((*NET, "--batch", "-4"), "at least one image, got -4"),
        ((*NET, "--batch", "many"), "whole numbers"),
        ((*NET, "--batch", "²"), "whole numbers"),
        ((*NET, "--batch", ","), "whole numbers"),
        ((*NET, "--threads", "0"), "threads"),
        ((*NET, "--workload", "sever"), "did you mean server"),
        ((*NET, "--workload", "server"), "--rate"),
        ((*NET, "--percentile", "p95"), "percentile"),
        (("--suite", "familes"), "did you mean families"),
        ((*NET, "--engine", "openvino", "--layout", "channels_last"), "layout"),
        ((*NET, "--store", "nonsense://x"), "nonsense"),
        ((*NET, "--html", "no/such/page.html"), "no/such is no folder"),
        (("--compare", "a.json"), "two files"),
        (("--compare", "no.json", "such.json"), "no.json"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(arguments: tuple[str, ...], says: str) -> None:
    code, out, err = run("bench", *arguments)
    assert code == 2
    assert not out
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_what_cannot_be_had_at_all_is_an_error_that_says_why() -> None:
    code, _, err = run("bench", *NET, "--engine", "cudagraphs")
    assert code == 2
    assert "GPU" in err


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"schema": "vertebra.anatomy/1"}')
    (tmp_path / "b.json").write_text("no json")
    for name in ("a", "b"):
        path = str(tmp_path / f"{name}.json")
        code, _, err = run("bench", "--compare", path, path)
        assert code == 2
        assert path in err


def test_a_server_that_does_not_keep_up_is_told() -> None:
    asked = ("bench", *NET, "--engine", "onnxruntime", "--workload", "server", "-q", "--rate")
    code, out, _ = run(*asked, "100000")
    assert code == 0
    assert "resnet20 in onnxruntime fp32 is overloaded: busy" in out
    code, out, _ = run(*asked, "20")
    assert code == 0
    assert "overloaded" not in out


def test_cells_that_cannot_be_had_for_one_reason_share_a_line() -> None:
    from vertebra.bench import cells
    from vertebra.cli.bench_text import _without

    first, second, third = cells(["resnet18", "resnet34", "resnet50"], precisions=["int8"])
    found = list(_without([(first, "one reason"), (second, "one reason"), (third, "another")]))
    assert found == [
        "resnet18 eager int8 x1 and 1 more: one reason",
        "resnet50 eager int8 x1: another",
    ]
