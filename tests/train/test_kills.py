"""SIGKILL anywhere, a full disk, a machine that is taken away: nothing that was saved is lost."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from killing import save_and_die
from processes import finish, start

import vertebra as vb
from vertebra.core import VertebraError
from vertebra.runs import Event, Recipe, Run
from vertebra.train.checkpoint import load_checkpoint, save_checkpoint

KILLS = 10
COMMAND = (
    *("train", "digits", "--model", "resnet20", "--epochs", "14", "--quiet", "--out", "run"),
    *("--set", "image_size=16", "--set", "batch_size=128", "--set", "threads=1"),
    *("--set", "ema_decay=0.9", "--set", "dropout=0.2", "--set", "drop_path=0.1"),
    *("--set", "flip=true", "--set", "mixup=0.2"),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    finish(start(*COMMAND, cwd=folder))
    return folder / "run"


def equal_checkpoints(one: Path, other: Path) -> bool:
    """To the bit: weights, averages, optimiser and how far it was."""
    left, right = (load_checkpoint(Run.open(path)) for path in (one, other))
    assert left.ema is not None
    assert right.ema is not None
    pairs = [(left.weights, right.weights), (left.ema, right.ema)]
    states = [side.state["optimizer"]["state"] for side in (left, right)]
    pairs += [(states[0][key], states[1][key]) for key in states[0]]
    return left.state["progress"] == right.state["progress"] and all(
        torch.equal(a[name], b[name]) for a, b in pairs for name in a
    )


def test_ten_kills_at_random_places(whole: Path, tmp_path: Path) -> None:
    """One run, killed again and again, at a time that differs on every machine and day."""
    run = tmp_path / "run"
    arguments: tuple[str, ...] = COMMAND
    killed_at = []
    for _ in range(KILLS):
        process = start(*arguments, cwd=tmp_path)
        before = size_of(run / "metrics.jsonl")
        deadline = time.monotonic() + 200
        # From the first sign of life on: the folder, then what it logs.
        while process.poll() is None and time.monotonic() < deadline:
            if (run / "recipe.yaml").exists() and size_of(run / "metrics.jsonl") != before:
                break
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if process.returncode == 0:
            break
        killed_at.append(len(lines_of(run / "metrics.jsonl")))
        arguments = ("train", "--resume", "run", "--quiet")
    finish(start("train", "--resume", "run", "--quiet", cwd=tmp_path))
    print("killed after so many lines:", killed_at)
    assert len(killed_at) >= 5, "the run was too short to be killed"
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert equal_checkpoints(run, whole)


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of one recipe: after one step, and after three."""
    folder = tmp_path_factory.mktemp("saved")
    recipe = Recipe.load("scratch-small", model="lenet5", duration="3ba", warmup=0, ema_decay=0.9)
    recipe = recipe.override(batch_size=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vertebra.train.summary.write_report", lambda *_: None)
        patch.setattr("vertebra.train.loop.SAVE_EVERY", 0.0)
        patch.setattr("vertebra.train.loop.validate", _fail)
        with pytest.raises(ZeroDivisionError):
            vb.train.fit(recipe, folder / "early")
        patch.undo()
        vb.train.fit(recipe, folder / "late")
    return folder / "early", folder / "late"


def _fail(_job: object) -> None:
    raise ZeroDivisionError


def test_a_kill_between_any_two_file_operations_of_a_save(
    saved: tuple[Path, Path], tmp_path: Path
) -> None:
    """At each operation in turn, the run's last checkpoint is the one before or the new one, whole;
    and the next save cleans up.
    """
    early, late = saved
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vertebra.train.checkpoint"])
    which = []
    for operation in range(1000):
        copy = tmp_path / str(operation)
        shutil.copytree(early, copy)
        child = context.Process(target=save_and_die, args=(copy, late, 999, operation))
        child.start()
        child.join(60)
        which.append(equal_checkpoints(copy, late))
        assert which[-1] or equal_checkpoints(copy, early), f"at operation {operation}"
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        assert load_checkpoint(Run.open(copy), "last").weights
        save_checkpoint(Run.open(copy), load_checkpoint(Run.open(late)), 1000, best=True)
        names = sorted(path.name for path in (copy / "checkpoints").iterdir() if path.is_dir())
        assert names == ["step-001000"]
        shutil.rmtree(copy)
    assert len(which) > 12
    assert which == sorted(which), "once the new one is named it stays"
    assert which[0] is False
    assert which[-1] is True


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    """A tmpfs of eight megabytes, where one may be mounted."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        recipe = Recipe.load("scratch-small", epochs=3, image_size=16, batch_size=256, threads=1)
        filler = small / "filler"
        kept = []

        class Fill:
            """Takes all the room that is left but some kilobytes, after the first epoch."""

            def on(self, event: object, moment: object) -> None:
                if event is Event.EPOCH_END:
                    kept.append(1)
                elif event is Event.EPOCH_START and kept and not filler.exists():
                    free = shutil.disk_usage(small).free
                    filler.write_bytes(b"0" * (free - 64 * 1024))

        with pytest.raises(VertebraError, match="No space left on device") as caught:
            vb.train.fit(recipe, small / "run", observers=(Fill(),))
        assert "\n" not in str(caught.value)
        run = Run.open(small / "run")
        assert load_checkpoint(run).state["progress"]["epoch"] == 1
        filler.unlink()
        vb.train.fit(resume=small / "run")
        whole = vb.train.fit(recipe, tmp_path / "whole")
        assert Run.open(small / "run").metrics == whole.metrics
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_sigterm_saves_and_exits_in_ten_seconds(tmp_path: Path) -> None:
    command = [part for part in COMMAND if part != "--quiet"]
    process = start(*command, cwd=tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch   2"):
            break
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    took = time.monotonic() - asked
    assert process.returncode == 130
    assert "vertebra train --resume run" in err
    assert took < 10
    progress = load_checkpoint(Run.open(tmp_path / "run")).state["progress"]
    assert progress["epoch"] >= 2


def test_sigterm_to_the_group_reaches_reading_processes_too(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    """As schedulers send it: to the run, and to the process that reads images beside it."""
    make_folder("images", each=256)
    command = ("train", "images", "--model", "resnet20", "--epochs", "50", "--out", "run")
    process = start(*command, "--set", "workers=1", cwd=tmp_path, own_group=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch   1"):
            break
    workers = psutil.Process(process.pid).children()
    assert len(workers) == 1
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "vertebra train --resume run" in err
    assert load_checkpoint(Run.open(tmp_path / "run")).state["progress"]["epoch"] >= 1
    psutil.wait_procs(workers, timeout=10)
    assert not any(worker.is_running() for worker in workers)
