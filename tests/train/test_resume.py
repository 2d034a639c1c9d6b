"""A killed run goes on to the numbers of a run that was never killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import vertebra as vb
from vertebra.core import VertebraError
from vertebra.runs import Event, Moment, Recipe, Run
from vertebra.train.checkpoint import load_checkpoint

# Everything whose state could be lost: momentum, an average of weights, dropout, flips.
COMMAND = [
    *("train", "digits", "--model", "resnet20", "--epochs", "3", "--quiet"),
    *("--set", "batch_size=128", "--set", "ema_decay=0.9", "--set", "dropout=0.2"),
    *("--set", "drop_path=0.1", "--set", "flip=true"),
]


def vertebra(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "vertebra", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def same_run(one: Path, other: Path) -> None:
    """Equal metrics to the byte and equal weights, averages and optimiser state to the bit."""
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    for which in ("last", "best"):
        a, b = Run.open(one).checkpoint(which), Run.open(other).checkpoint(which)
        for name in ("weights.safetensors", "ema.safetensors"):
            assert (a / name).read_bytes() == (b / name).read_bytes()
            left, right = load_file(a / name), load_file(b / name)
            assert left.keys() == right.keys()
            assert all(torch.equal(left[key], right[key]) for key in left)
    a, b = (load_checkpoint(Run.open(path)).state for path in (one, other))
    assert a["progress"] == b["progress"]
    for key, entry in a["optimizer"]["state"].items():
        assert torch.equal(
            entry["momentum_buffer"], b["optimizer"]["state"][key]["momentum_buffer"]
        )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    finish(vertebra(*COMMAND, "--out", "run", cwd=folder))
    return folder / "run"


def kill_after(run: Path, process: subprocess.Popen[str], steps: int) -> None:
    """SIGKILL once the log has so many lines: in the middle of an epoch or of a save."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        metrics = run / "metrics.jsonl"
        # Without a line to wait for: as soon as the folder is a run at all.
        lines = metrics.read_bytes().count(b"\n") if metrics.exists() else -1
        if lines >= steps:
            break
        time.sleep(0.002)
    # The log is written an epoch at a time: wherever the next one has got to by then.
    time.sleep(random.uniform(0, 0.4))
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_recipe_of_a_run_replays_it_to_the_same_bits(whole: Path, tmp_path: Path) -> None:
    recipe = str(whole / "recipe.yaml")
    finish(vertebra("train", "--recipe", recipe, "--out", "again", "--quiet", cwd=tmp_path))
    same_run(whole, tmp_path / "again")


def test_ctrl_c_in_mid_epoch_saves_and_resumes_to_the_same_bits(
    whole: Path, tmp_path: Path
) -> None:
    process = vertebra(*[a for a in COMMAND if a != "--quiet"], "--out", "run", cwd=tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch   1"):
            break
    last = tmp_path / "run" / "checkpoints" / "last"
    deadline = time.monotonic() + 100
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    # In the middle of an epoch, as the checkpoint shows; how fast is benchmarks/stopping.py's.
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "go on from step-0000" in err
    assert "vertebra train --resume run" in err
    assert "Traceback" not in err
    saved = load_checkpoint(Run.open(tmp_path / "run")).state["progress"]
    assert saved["step_in_epoch"] > 0, "nothing of the epoch was saved"
    finish(vertebra("train", "--resume", "run", "--quiet", cwd=tmp_path))
    same_run(whole, tmp_path / "run")


class AskToStop:
    """An observer that presses Ctrl-C, or is a scheduler, at one event of the first epoch."""

    def __init__(self, event: Event, number: int = signal.SIGINT) -> None:
        self.event, self.number, self.asked = event, number, False

    def on(self, event: Event, moment: Moment) -> None:
        if event is self.event and not self.asked:
            self.asked = True
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("event", [Event.VALIDATION, Event.SAVING])
def test_ctrl_c_between_epochs_waits_for_the_save(
    whole: Path, tmp_path: Path, event: Event, number: int
) -> None:
    recipe = Recipe.load(whole / "recipe.yaml")
    with pytest.raises(VertebraError, match="go on from step-000008 with") as caught:
        vb.train.fit(recipe, tmp_path / "run", observers=(AskToStop(event, number),))
    assert caught.value.exit_code == 130
    vb.train.fit(resume=tmp_path / "run")
    same_run(whole, tmp_path / "run")


def test_a_long_epoch_is_saved_in_between(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash:
        def on(self, event: Event, moment: Moment) -> None:
            if event is Event.AFTER_STEP and moment.step == 14:
                raise RuntimeError("crash")

    monkeypatch.setattr("vertebra.train.loop.SAVE_EVERY", 0.0)
    with pytest.raises(RuntimeError, match="crash"):
        vb.train.fit(Recipe.load(whole / "recipe.yaml"), tmp_path / "run", observers=(Crash(),))
    assert Run.open(tmp_path / "run").checkpoint().name == "step-000013"
    vb.train.fit(resume=tmp_path / "run")
    same_run(whole, tmp_path / "run")


def test_a_changed_recipe_is_not_gone_on_with(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    subprocess.run(["cp", "-r", str(whole), str(copy)], check=True)
    before = (copy / "recipe.yaml").read_text()
    (copy / "recipe.yaml").write_text(before.replace("duration: 3ep", "duration: 4ep"))
    for use in (lambda: vb.train.fit(resume=copy), lambda: vb.train.evaluate(copy)):
        with pytest.raises(VertebraError, match="not the recipe"):
            use()
    # What changes speed only may be changed.
    (copy / "recipe.yaml").write_text(before.replace("workers: 0", "workers: 1"))
    assert vb.train.evaluate(copy).top1 == Run.open(whole).test["top1"]


def test_a_run_is_trained_by_one_process_at_a_time(whole: Path, tmp_path: Path) -> None:
    process = vertebra(*COMMAND, "--out", "run", cwd=tmp_path)
    deadline = time.monotonic() + 100
    while not (tmp_path / "run" / "recipe.yaml").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(VertebraError, match="another process is training in"):
        vb.train.fit(resume=tmp_path / "run")
    finish(process)
    same_run(whole, tmp_path / "run")


def test_torn_leftovers_of_a_save_do_no_harm(whole: Path, tmp_path: Path) -> None:
    """What a kill in the middle of a save leaves: a half-written folder and a torn log line."""
    process = vertebra(*COMMAND, "--out", "run", cwd=tmp_path)
    kill_after(tmp_path / "run", process, 9)
    half = tmp_path / "run" / "checkpoints" / ".writing-step-000016"
    half.mkdir(parents=True, exist_ok=True)
    (half / "weights.safetensors").write_bytes(b"half")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    finish(vertebra("train", "--resume", "run", "--quiet", cwd=tmp_path))
    same_run(whole, tmp_path / "run")
    assert not half.exists()


def test_damaged_checkpoint_is_refused(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    subprocess.run(["cp", "-r", str(whole), str(copy)], check=True)
    weights = Run.open(copy).checkpoint() / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    process = vertebra("train", "--resume", str(copy), cwd=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "damaged" in err
    assert "Traceback" not in err


def test_run_of_other_data_is_not_resumed(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    subprocess.run(["cp", "-r", str(whole), str(copy)], check=True)
    card = json.loads((copy / "data.json").read_text())
    card["fingerprint"] = "0" * 32
    (copy / "data.json").write_text(json.dumps(card))
    with pytest.raises(vb.core.VertebraError, match="other data"):
        vb.train.fit(resume=copy)


def test_pointers_always_name_complete_checkpoints(whole: Path) -> None:
    """A checkpoint folder holds nothing that its manifest does not vouch for."""
    run = Run.open(whole)
    for which in ("last", "best"):
        folder = run.checkpoint(which)
        manifest = json.loads((folder / "manifest.json").read_text())
        assert {*manifest["sha256"], "manifest.json"} == {p.name for p in folder.iterdir()}
