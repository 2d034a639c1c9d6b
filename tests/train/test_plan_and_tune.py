"""Runs that are looked at before they are begun: dry runs, timed choices, folds."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import vertebra as vb
from vertebra.core import VertebraError
from vertebra.machine import describe
from vertebra.runs import Recipe
from vertebra.runtime import has_compiler
from vertebra.train import tune
from vertebra.train.folds import cross_validate
from vertebra.train.group import Group
from vertebra.train.job import prepare_network
from vertebra.train.plan import _memory, plan
from vertebra.train.rules import LEAST_FOR_A_WORKER, default_workers
from vertebra.train.schedule import learning_rate
from vertebra.train.tune import Candidate, candidates
from vertebra.zoo.of_recipe import build

TINY = {"epochs": 2, "warmup": "2ba", "batch_size": 128, "image_size": 16, "threads": 1}


def tiny(**changes: Any) -> Recipe:
    return Recipe.load("scratch-small", **{**TINY, **changes})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("vertebra.train.summary.write_report", lambda *_: None)
    monkeypatch.setenv("VERTEBRA_HOME", str(tmp_path / "home"))


def test_a_plan_is_of_the_run_that_would_be(tmp_path: Path) -> None:
    planned = plan(tiny(epochs=3))
    run = vb.train.fit(tiny(epochs=3), tmp_path / "run")
    assert planned.recipe == run.recipe
    steps = [row for row in run.metrics if row["kind"] == "step"]
    assert planned.total_steps == len(steps) == 3 * planned.steps_per_epoch
    assert planned.rates == tuple(row["lr"] for row in steps[:: planned.steps_per_epoch])
    assert planned.rates[1] == learning_rate(run.recipe.train, 8, 8)
    assert planned.timed_steps == 6
    assert planned.epoch_seconds == pytest.approx(planned.step_seconds * 8)
    assert planned.memory is not None
    assert planned.memory.batch == 128
    assert json.loads(json.dumps(planned.to_dict()))["schema"] == "vertebra.plan/1"


def test_a_plan_counts_what_is_held_besides() -> None:
    plain = plan(tiny(duration="2ba", warmup=0))
    assert plain.memory is not None
    assert plain.peak_bytes == plain.memory.training_peak
    weights = sum(p.numel() for p in vb.zoo.create("resnet20", in_chans=1).parameters()) * 4
    sam = plan(tiny(duration="2ba", warmup=0, sam_rho=0.1, ema_decay=0.9))
    assert sam.peak_bytes is not None
    assert 2 * weights <= sam.peak_bytes - plain.peak_bytes < 2.1 * weights
    growing = plan(tiny(duration="16ba", warmup=0, progressive=[[0, 16], [1, 32]]))
    assert growing.memory is not None
    assert growing.memory.activations > 3.5 * plain.memory.activations
    compiled = plain.recipe.override(compile=True)
    assert _memory(compiled, vb.data.open_dataset("digits")) is None


def saved_for_backward(net: torch.nn.Module, images: torch.Tensor) -> int:
    """Bytes that autograd keeps of a forward pass under bf16, by its own hooks."""
    held: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        held.append(tensor)
        return tensor

    saving = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with saving, torch.autocast("cpu", torch.bfloat16):
        net(images)
    storages = {tensor.untyped_storage().data_ptr(): tensor for tensor in held}
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


def test_a_plan_counts_what_stays_in_float32_under_bf16() -> None:
    changes = {"model": "mobilenet_v2", "precision": "bf16", "device": "cpu", "image_size": 32}
    recipe = plan(tiny(**changes, duration="1ba", warmup=0, batch_size=64)).recipe
    images = torch.randn(64, 1, 32, 32).contiguous(memory_format=torch.channels_last)
    planned, saved = [], []
    for device in ("cpu", "cuda"):  # on a GPU nothing is kept in float32
        there = recipe.override(device=device)
        memory = _memory(there, vb.data.open_dataset("digits"))
        assert memory is not None
        planned.append(memory.activations)
        net = prepare_network(build(there), there, torch.device("cpu"), Group())
        saved.append(saved_for_backward(net.train(), images))
    assert saved[0] > 1.02 * saved[1]
    # Autograd also keeps copies of weights, which are no activations: 1 % of it.
    assert planned[0] - planned[1] == pytest.approx(saved[0] - saved[1], rel=0.05)


def test_a_plan_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan(tiny(epochs=1))
    assert [path.name for path in tmp_path.rglob("*")] == []


def test_what_the_user_says_is_no_candidate() -> None:
    resolved = tiny(num_classes=10, in_chans=1, channels=1, device="cpu")
    every = candidates(resolved, tiny())
    assert Candidate("fp32", False) in every
    assert {c.precision for c in candidates(resolved, tiny(precision="fp32"))} == {"fp32"}
    assert {c.channels_last for c in candidates(resolved, tiny(channels_last=False))} == {False}
    assert not any(c.compile for c in every)


def test_the_fastest_is_taken_written_down_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that says that contiguous float32 is the fastest, which no rule would choose."""
    asked: list[str] = []

    def clock(job: Any, _batches: object) -> float:
        section = job.recipe.train
        asked.append(f"{section.precision} {section.channels_last}")
        return 1.0 if (section.precision, section.channels_last) == ("fp32", False) else 2.0

    monkeypatch.setattr("vertebra.train.tune.timed_step", clock)
    told: list[str] = []
    run = vb.train.fit(tiny(), tmp_path / "run", tune=True, tell=told.append)
    assert (run.recipe.train.precision, run.recipe.train.channels_last) == ("fp32", False)
    assert run.recipe.train.compile is False
    assert any("fastest here: fp32, contiguous" in line for line in told)
    assert len(set(asked)) in (2, 4)
    before = len(asked)
    again = vb.train.fit(tiny(seed=1), tmp_path / "again", tune=True, tell=told.append)
    assert len(asked) == before, "measured once"
    assert again.recipe.train.channels_last is False
    vb.train.fit(tiny(batch_size=64), tmp_path / "other", tune=True)
    assert len(asked) > before, "another batch is another question"
    before = len(asked)
    vb.train.fit(tiny(duration="16ba"), tmp_path / "as long", tune=True)
    assert len(asked) == before, "sixteen batches are the two epochs"
    vb.train.fit(tiny(duration="3ba"), tmp_path / "shorter", tune=True)
    assert len(asked) > before, "how long a run is decides whether compiling may pay"
    before = len(asked)
    vb.train.fit(Recipe.load(run.path / "recipe.yaml"), tmp_path / "replay", tune=True)
    assert len(asked) == before, "a replay has nothing left open"
    with pytest.raises(VertebraError, match="give no tune"):
        vb.train.fit(resume=run.path, tune=True)


def test_a_whole_step_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its micro-batches are: so long a step takes, and so often the optimiser works."""
    timed: list[list[int]] = []

    def clock(_job: Any, batches: list[Any]) -> float:
        timed.append([len(batch.labels) for batch in batches])
        return 1.0

    monkeypatch.setattr("vertebra.train.tune.timed_step", clock)
    recipe = tiny(micro_batch=48, duration="1ba", warmup=0, precision="fp32")
    vb.train.fit(recipe, tmp_path / "run", tune=True)
    assert timed
    assert all(sizes == [48, 48, 32] for sizes in timed)


@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler on the CPU")
def test_a_long_run_also_times_what_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Really compiled and trained; only the clock is told which is the fastest."""
    real, told = tune.timed_step, list[str]()

    def clock(job: Any, batches: Any) -> float:
        real(job, batches)
        return 1.0 if job.recipe.train.compile else 2.0

    monkeypatch.setattr("vertebra.train.tune.timed_step", clock)
    fixed = {"precision": "fp32", "schedule": "constant", "warmup": 0}
    lenet = tiny(model="lenet5", image_size=32, duration="3ba", **fixed)
    short = vb.train.fit(lenet, tmp_path / "short", tune=True, tell=told.append)
    assert short.recipe.train.compile is False, "too short to earn it back"
    monkeypatch.setattr("vertebra.train.tune.COMPILE_SECONDS", 0.0)
    longer = lenet.override(duration="4ba")
    run = vb.train.fit(longer, tmp_path / "run", tune=True, tell=told.append)
    assert run.recipe.train.compile is True
    assert any("fastest here" in line and "compiled" in line for line in told)
    losses = [[row["loss"] for row in r.metrics if row["kind"] == "step"] for r in (short, run)]
    assert losses[1][:3] == pytest.approx(losses[0], rel=1e-4), "it computes the same network"


def test_folds_hold_every_image_out_once(tmp_path: Path) -> None:
    told: list[str] = []
    result = cross_validate(tiny(epochs=1), 3, tmp_path / "folds", tell=told.append)
    assert len(result.folds) == 3
    runs = [vb.runs.Run.open(fold.run) for fold in result.folds]
    held = [sum(run.card["counts"]["val"].values()) for run in runs]
    train = [sum(run.card["counts"]["train"].values()) for run in runs]
    test = {json.dumps(run.card["counts"]["test"]) for run in runs}
    assert len(test) == 1, "test is the same for all"
    assert sum(held) == train[0] + held[0]
    assert max(held) - min(held) <= 10
    values = [run.epochs[-1]["val_top1"] for run in runs]
    assert result.mean == pytest.approx(statistics.mean(values))
    assert result.spread == pytest.approx(statistics.stdev(values))
    summary = json.loads((tmp_path / "folds" / "folds.json").read_text())
    assert summary["mean"] == result.mean


def test_folds_go_on_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # a finished fold is known by its report
    first = cross_validate(tiny(epochs=1), 2, tmp_path / "folds")
    (tmp_path / "folds" / "fold-1" / "report.html").unlink()
    times = [Path(fold.run, "recipe.yaml").stat().st_mtime_ns for fold in first.folds]
    again = cross_validate(tiny(epochs=1), 2, tmp_path / "folds")
    assert again == first
    assert times == [Path(fold.run, "recipe.yaml").stat().st_mtime_ns for fold in first.folds]
    with pytest.raises(VertebraError, match=r"another recipe .train differs."):
        cross_validate(tiny(epochs=1, lr=0.3), 2, tmp_path / "folds")
    with pytest.raises(VertebraError, match=r"another recipe .data differs."):
        cross_validate(tiny(epochs=1, image_size=None), 2, tmp_path / "folds")


def test_folds_go_on_on_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first one decided stays, where the recipe leaves it open."""
    monkeypatch.undo()
    recipe = tiny(epochs=1).override(threads=None)
    first = cross_validate(recipe, 2, tmp_path / "folds")
    here = describe()
    there = dataclasses.replace(here, cores=here.cores + 2, instruction_sets=("avx2",))
    monkeypatch.setattr("vertebra.train.folds.describe", lambda: there)
    assert cross_validate(recipe, 2, tmp_path / "folds") == first
    with pytest.raises(VertebraError, match="another recipe"):
        cross_validate(recipe.override(threads=here.cores + 2), 2, tmp_path / "folds")


@pytest.mark.parametrize(
    ("device", "cores", "images", "in_memory", "expected"),
    [
        ("cpu", 2, LEAST_FOR_A_WORKER, False, 1),
        ("cpu", 64, 10**6, False, 1),
        ("cpu", 1, 10**6, False, 0),
        ("cpu", 2, LEAST_FOR_A_WORKER - 1, False, 0),
        ("cpu", 2, 10**6, True, 0),
        ("cuda", 4, 10, True, 3),
        ("cuda:1", 64, 10**6, False, 8),
        ("cuda", 1, 10**6, False, 0),
    ],
)
def test_how_many_processes_read_images(
    device: str, cores: int, images: int, in_memory: bool, expected: int
) -> None:
    source = SimpleNamespace(native_size=8 if in_memory else None)
    dataset: Any = SimpleNamespace(source=source, train=range(images))
    assert default_workers(device, cores, dataset) == expected
    with multiprocessing.Pool(1) as pool:  # of daemons, which may start no others
        assert pool.apply(default_workers, (device, cores, dataset)) == 0


def test_folds_of_other_images_are_not_taken_for_ones_own(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    """As a stranger would: the same command after an image was added."""
    images = make_folder(each=24)
    recipe = tiny(data=str(images), epochs=1, batch_size=8)
    cross_validate(recipe, 2, tmp_path / "folds")
    shutil.copy(images / "dark" / "000.jpg", images / "dark" / "new.jpg")
    with pytest.raises(VertebraError, match="trained on other data"):
        cross_validate(recipe, 2, tmp_path / "folds")
