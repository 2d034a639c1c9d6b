"""Reading run folders: whole, unfinished, foreign."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vertebra.core import VertebraError
from vertebra.runs import Recipe, Run

EPOCH = {"kind": "epoch", "epoch": 1, "val_top1": 0.5}
STEP = {"kind": "step", "step": 1, "loss": 2.3}
TEST = {"kind": "test", "top1": 0.75}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The least that is a run."""
    path = tmp_path / "run"
    path.mkdir()
    recipe = Recipe.load("scratch-small", image_size=32, resize=36, mean=[0.5], std=[0.25])
    (path / "recipe.yaml").write_text(recipe.to_yaml())
    (path / "data.json").write_text(json.dumps({"classes": ["a", "<b>"], "source": "digits"}))
    return path


def log(folder: Path, *lines: object, tail: str = "") -> Run:
    text = "".join(json.dumps(line) + "\n" for line in lines) + tail
    (folder / "metrics.jsonl").write_text(text)
    return Run.open(folder)


def refused(path: Path) -> str:
    with pytest.raises(VertebraError) as caught:
        Run.open(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_missing_folder(tmp_path: Path) -> None:
    assert "no run folder" in refused(tmp_path / "nowhere")


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no folder")
    assert "no run folder" in refused(tmp_path / "run")


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "not a run" in refused(tmp_path)


@pytest.mark.parametrize("name", ["recipe.yaml", "data.json"])
def test_half_a_run(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert "not a run" in refused(folder)


def test_a_run_says_what_it_is(folder: Path) -> None:
    run = Run.open(str(folder))
    assert run.recipe.model.name == "resnet20"
    assert run.classes == ("a", "<b>")
    assert run.preprocessing.size == 32
    assert run.preprocessing.resize == 36
    assert run.preprocessing.mean == (0.5,)
    assert run.preprocessing.channels == 1


def test_a_recipe_that_is_not_resolved(folder: Path) -> None:
    (folder / "recipe.yaml").write_text(Recipe.load("scratch-small").to_yaml())
    with pytest.raises(VertebraError, match="not fully resolved"):
        _ = Run.open(folder).preprocessing


def test_a_run_that_has_not_begun(folder: Path) -> None:
    run = Run.open(folder)
    assert run.metrics == run.epochs == []
    assert run.test is None
    assert not run.has_checkpoint
    with pytest.raises(VertebraError, match="no checkpoint 'best'"):
        run.checkpoint("best")


def test_metrics_by_kind(folder: Path) -> None:
    run = log(folder, STEP, EPOCH, STEP, TEST)
    assert run.metrics == [STEP, EPOCH, STEP, TEST]
    assert run.epochs == [EPOCH]
    assert run.test == TEST


LINE = json.dumps({"kind": "epoch", "epoch": 2, "name": "猫"}, ensure_ascii=False)


@pytest.mark.parametrize("cut", range(len(LINE.encode()) + 1))
def test_a_torn_last_line_is_ignored(folder: Path, cut: int) -> None:
    """Wherever the kill came, also in the middle of a character."""
    whole = (json.dumps(STEP) + "\n" + json.dumps(EPOCH) + "\n").encode()
    (folder / "metrics.jsonl").write_bytes(whole + LINE.encode()[:cut])
    assert Run.open(folder).metrics == [STEP, EPOCH]


def test_an_empty_log(folder: Path) -> None:
    assert log(folder).metrics == []
    assert log(folder, tail='{"kind"').metrics == []


def test_characters_that_python_takes_for_line_ends(folder: Path) -> None:
    """JSON needs no escape for U+2028; str.splitlines cuts there."""
    row = {"kind": "epoch", "note": "a\u2028b\x85c"}
    (folder / "metrics.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n")
    assert Run.open(folder).metrics == [row]


def test_a_run_can_be_watched(folder: Path) -> None:
    run = log(folder, STEP)
    log(folder, STEP, EPOCH)
    assert run.metrics == [STEP, EPOCH]


@pytest.mark.parametrize("content", ["", "{", "[1, 2", "\x00"])
def test_a_spoilt_card(folder: Path, content: str) -> None:
    (folder / "data.json").write_text(content)
    with pytest.raises(VertebraError, match=r"data\.json") as caught:
        _ = Run.open(folder).card
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_environment(folder: Path) -> None:
    with pytest.raises(VertebraError, match=r"environment\.json"):
        _ = Run.open(folder).environment


def test_checkpoints_are_found_by_their_pointers(folder: Path) -> None:
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last").write_text("epoch-0003\n")
    run = Run.open(folder)
    assert run.has_checkpoint
    assert run.checkpoint() == folder / "checkpoints" / "epoch-0003"
    with pytest.raises(VertebraError, match="no checkpoint 'best'"):
        run.checkpoint("best")


CHILD = """
import sys
import vertebra as vb
run = vb.runs.Run.open(sys.argv[1])
assert run.recipe.train.duration.value and run.classes and run.epochs and run.preprocessing.size
heavy = {"torch", "torchvision", "numpy", "PIL", "sklearn", "matplotlib"} & set(sys.modules)
print(sorted(heavy))
"""


def test_reading_a_run_loads_no_torch(folder: Path) -> None:
    log(folder, STEP, EPOCH)
    command = [sys.executable, "-c", CHILD, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
