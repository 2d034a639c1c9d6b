"""The commands as their user meets them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import TINY, run

from vertebra.runs import Run

HEAVY = ("torch", "torchvision", "numpy", "matplotlib", "sklearn")


def modules_after(*arguments: str) -> set[str]:
    """The modules that a command has loaded when it is done."""
    code = (
        "import sys\nfrom vertebra.cli import main\n"
        f"code = main({list(arguments)!r})\n"
        "print('\\n' + ' '.join(sys.modules), file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [("--help",), ("models",), ("models", "resnet*", "--json")])
def test_light_commands_load_no_torch(arguments: tuple[str, ...]) -> None:
    assert not modules_after(*arguments) & set(HEAVY)


def test_show_loads_no_torchvision_and_no_compiler() -> None:
    loaded = modules_after("show", "resnet18")
    assert "torch" in loaded
    assert not loaded & {"torchvision", "torch._dynamo", "sympy", "matplotlib", "sklearn"}


def test_models_lists_what_matches() -> None:
    code, out, _ = run("models", "resnet*", "--exclude", "*1*", "--exclude", "resnet2?")
    names = [line.split()[0] for line in out.splitlines()[1:]]
    assert code == 0
    expected = ["resnet34", "resnet50", "resnet32", "resnet44", "resnet56", "resnet50_v2"]
    assert names == expected


def test_show_json_is_one_document() -> None:
    _, out, _ = run("show", "resnet50", "--json")
    document = json.loads(out)
    assert document["schema"] == "vertebra.anatomy/1"
    assert document["params"] == 25_557_032
    assert document["receptive_field"]["size"] == [427, 427]
    assert sum(layer["macs"] for layer in document["layers"]) == document["macs"]


def test_show_of_a_run(finished: Path) -> None:
    code, out, _ = run("show", str(finished / "run"), "--json")
    assert code == 0
    assert json.loads(out)["input_shape"] == [1, 3, 16, 16]


def test_evaluate_and_its_json_agree(finished: Path) -> None:
    code, text, _ = run("evaluate", str(finished / "run"))
    assert code == 0
    document = json.loads(run("evaluate", str(finished / "run"), "--json")[1])
    assert document["schema"] == "vertebra.evaluation/1"
    assert f"{100 * document['top1']:.2f} %" in text
    assert sum(map(sum, document["confusion"])) == document["images"]


def test_evaluate_on_other_data_with_one_class(finished: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "light"
    other.mkdir(parents=True)
    source = finished / "images" / "light"
    for name in ("0.png", "1.png"):
        (other / name).write_bytes((source / name).read_bytes())
    (other / "broken.png").write_bytes(b"")
    code, out, err = run(
        "evaluate", str(finished / "run"), "--data", str(tmp_path / "other"), "--json"
    )
    document = json.loads(out)
    assert code == 0
    assert document["images"] == 2
    assert [entry["id"] for entry in document["skipped"]] == ["light/broken.png"]
    assert "light/broken.png" in err
    by_name = {entry["name"]: entry["images"] for entry in document["classes"]}
    assert by_name == {"dark": 0, "light": 2}


def test_predict_files_and_folders(finished: Path, tmp_path: Path) -> None:
    image = finished / "images" / "dark" / "3.png"
    code, out, _ = run("predict", str(finished / "run"), str(image), "--json")
    (one,) = json.loads(out)["predictions"]
    assert code == 0
    assert sum(share for _, share in one["top"]) == pytest.approx(1, abs=1e-5)
    target = tmp_path / "out.csv"
    folder = str(finished / "images" / "dark")
    _, out, _ = run("predict", str(finished / "run"), folder, "--csv", str(target))
    assert out.splitlines()[-1] == str(target)
    rows = list(csv.DictReader(target.open()))
    assert len(rows) == 12
    same = next(row for row in rows if row["path"] == str(image))
    assert same["class1"] == one["top"][0][0]


def test_train_json_is_alone_on_stdout(finished: Path, tmp_path: Path) -> None:
    arguments = (*TINY, "--out", str(tmp_path / "r"), "--json")
    code, out, _ = run("train", str(finished / "images"), *arguments)
    assert code == 0
    assert json.loads(out)["run"] == str(tmp_path / "r")


def test_default_run_folders_are_numbered(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = (*TINY, "--quiet", "--model", "resnet20")
    paths = [run("train", str(finished / "images"), *arguments)[1].splitlines()[-1] for _ in "ab"]
    assert paths == ["runs/images-resnet20", "runs/images-resnet20-2"]


def test_the_best_epoch_is_shown_only_where_it_is_not_the_last(
    finished: Path, tmp_path: Path
) -> None:
    for epochs, lr in (("1", "0.01"), ("4", "0.05")):
        arguments = ["train", str(finished / "images"), *TINY[2:], "--epochs", epochs, "--quiet"]
        out = tmp_path / epochs
        _, text, _ = run(*arguments, "--set", f"lr={lr}", "--out", str(out))
        test = Run.open(out).test
        assert test is not None
        last_is_best = test["epoch"] == int(epochs)
        assert ("the best: judged on test" in text) == (not last_is_best)
        assert epochs != "1" or last_is_best


def test_alone_it_shows_its_help() -> None:
    code, out, err = run()
    assert code == 0
    assert "Usage:" in out
    assert "evaluate" in out
    assert err == ""


def test_the_epoch_that_is_judged_is_named(finished: Path) -> None:
    test = Run.open(finished / "run").test
    assert test is not None
    _, text, _ = run("evaluate", str(finished / "run"))
    assert f"best checkpoint (epoch {test['epoch']})" in text


def test_no_color_is_obeyed() -> None:
    assert "\x1b[" not in printed("models", NO_COLOR="1")


def printed(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "vertebra", *arguments],
        capture_output=True,
        env={**os.environ, **environment},
        check=True,
        timeout=60,
    )
    return done.stdout.decode(errors="replace")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_encoding_will_do(encoding: str) -> None:
    assert "lenet5" in printed("show", "lenet5", PYTHONIOENCODING=encoding)


def test_a_reader_of_notices_that_leaves_does_not_end_the_training(
    finished: Path, tmp_path: Path
) -> None:
    arguments = ["train", str(finished / "images"), *TINY, "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-m", "vertebra", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    process.stderr.readline()
    process.stderr.close()
    assert process.stdout is not None
    out = process.stdout.read().decode()
    assert process.wait(timeout=60) == 0
    assert out.splitlines()[-1] == str(tmp_path / "run")
    assert (tmp_path / "run" / "report.html").exists()


def test_a_pipe_that_closes_early_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m vertebra show resnet152 | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""


def test_models_says_what_only_training_runs() -> None:
    code, out, _ = run("models", "googlenet")
    assert code == 0
    assert "6.625 M" in out
    assert "6.38 M more parameters in auxiliary heads" in out


def test_models_of_timm_are_listed_by_name() -> None:
    code, out, _ = run("models", "timm/regnety_00*")
    assert code == 0
    assert "timm/regnety_002" in out.split()


def test_a_scheduler_that_stops_a_run_before_it_trains_hears_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vertebra", "train", "digits", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "loading PyTorch ...\n"
    process.terminate()
    assert process.communicate(timeout=60)[1].splitlines()[-1:] == ["stopped"]
    assert process.returncode == 130
    assert not (tmp_path / "run").exists()


def test_notices_of_the_library_are_one_line_and_silent_when_asked(
    tmp_path: Path, finished: Path
) -> None:
    started = ("train", "digits", *TINY, "--weights", str(finished / "run"), "--out")
    _, _, err = run(*started, str(tmp_path / "loud"))
    said = [line for line in err.splitlines() if "the weights have 2 classes" in line]
    assert said == [
        "the weights have 2 classes and this network 10: its last layer keeps its initial values"
    ]
    assert "Notice" not in err
    _, _, err = run(*started, str(tmp_path / "quiet"), "--quiet")
    assert "the weights" not in err
