"""fit: what it learns, what it leaves alone, what it writes down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import vertebra as vb
from vertebra.core import VertebraError
from vertebra.runs import Event, Moment, Recipe, Run
from vertebra.train.checkpoint import load_checkpoint
from vertebra.train.settings import settings


def short(**changes: object) -> Recipe:
    settings = {"epochs": 2, "warmup": 1, "batch_size": 128, "model": "resnet20", "threads": 1}
    settings |= changes
    return Recipe.load("scratch-small", **settings)


class Watcher:
    """An observer that looks at everything and draws from nothing."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.steps: list[int] = []

    def on(self, event: Event, moment: Moment) -> None:
        self.events.append(event)
        if event is Event.AFTER_STEP:
            assert moment.loss is not None
            self.steps.append(moment.step)
            moment.loss.item()


def weights(run: Run) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(run).weights)


def test_observers_see_every_event_and_change_nothing(tmp_path: Path) -> None:
    watcher = Watcher()
    watched = vb.train.fit(short(), tmp_path / "a", observers=(watcher,))
    alone = vb.train.fit(short(), tmp_path / "b")
    assert (tmp_path / "a/metrics.jsonl").read_bytes() == (
        tmp_path / "b/metrics.jsonl"
    ).read_bytes()
    left, right = weights(watched), weights(alone)
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert watcher.steps == list(range(1, 17))
    assert set(watcher.events) == set(Event)
    assert watcher.events.count(Event.EPOCH_END) == 2
    one = list(Event)[list(Event).index(Event.BATCH_READY) :][:6]
    assert one[-1] is Event.AFTER_STEP
    start = watcher.events.index(Event.BATCH_READY)
    assert watcher.events[start : start + 6] == one


def test_fit_leaves_the_callers_generators_and_threads(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    vb.train.fit(short(epochs=1, threads=1), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_seed_changes_the_numbers(tmp_path: Path) -> None:
    one = vb.train.fit(short(epochs=1, seed=0), tmp_path / "a")
    other = vb.train.fit(short(epochs=1, seed=1), tmp_path / "b")
    assert one.metrics != other.metrics
    assert one.card["fingerprint"] == other.card["fingerprint"], "digits are split alike for all"


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_no_number(
    tmp_path: Path, make_folder: Callable[..., Path], workers: int
) -> None:
    root = make_folder(each=20)
    recipes = [
        short(data=str(root), model="resnet20", batch_size=8, image_size=16, workers=count)
        for count in (0, workers)
    ]
    runs = [vb.train.fit(recipe, tmp_path / str(i)) for i, recipe in enumerate(recipes)]
    assert runs[0].metrics == runs[1].metrics


def test_folder_is_learnt_and_broken_files_are_told_of(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    root = make_folder(each=24)
    (root / "dark" / "broken.jpg").write_bytes(b"not a picture")
    told: list[str] = []
    recipe = short(data=str(root), model="resnet20", epochs=6, batch_size=8, image_size=16)
    run = vb.train.fit(recipe, tmp_path / "run", tell=told.append)
    assert run.test is not None
    assert run.test["top1"] == 1.0, "brightness alone tells these classes apart"
    assert [entry["id"] for entry in run.card["skipped"]] == ["dark/broken.jpg"]
    assert sum("broken.jpg" in text for text in told) == 1
    evaluation = vb.train.evaluate(run)
    assert evaluation.top1 == run.test["top1"]
    assert evaluation.scores.loss == run.test["loss"]
    own = vb.train.evaluate(run, data=root)
    assert (own.split, own.top1) == ("test", run.test["top1"]), "not the images it was trained on"


def test_run_folder_holds_what_explains_it(tmp_path: Path) -> None:
    run = vb.train.fit(short(epochs=1), tmp_path / "run")
    names = {path.name for path in run.path.iterdir()}
    assert names == {
        *("recipe.yaml", "environment.json", "data.json", "metrics.jsonl", "timing.jsonl"),
        *("checkpoints", "report.html", ".lock"),
    }
    assert run.environment["packages"]["torch"]
    train = run.recipe.train
    assert None not in (train.precision, train.channels_last, train.device, train.threads)
    for line in (run.path / "metrics.jsonl").read_text().splitlines():
        assert not {"time", "seconds", "images_per_second"} & set(json.loads(line))


def test_a_batch_of_one_is_fine_where_maps_are_larger(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    data = str(make_folder(each=6))
    run = vb.train.fit(short(data=data, epochs=1, batch_size=1, image_size=16), tmp_path / "run")
    assert run.test is not None


def test_average_of_weights_is_what_is_judged(tmp_path: Path) -> None:
    run = vb.train.fit(short(ema_decay=0.8), tmp_path / "run")
    saved = load_checkpoint(run)
    assert saved.ema is not None
    name = "stages.0.0.branch.0.conv.weight"
    assert not torch.equal(saved.ema[name], saved.weights[name])
    assert torch.equal(vb.train.load_model(run, "last").state_dict()[name], saved.ema[name])


def test_resnet20_learns_digits_in_four_epochs(tmp_path: Path) -> None:
    """Far from what the recipe reaches, but out of reach for a loop with a broken part."""
    run = vb.train.fit(short(epochs=4, batch_size=32, lr=0.05), tmp_path / "run")
    assert run.test is not None
    assert run.test["top1"] > 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 5}, "10 classes"),
        ({"in_chans": 3}, "data.channels"),
        ({"mean": [0.5, 0.5]}, "data.mean"),
        ({"resize": 16}, "data.resize"),
        ({"warmup": 9}, "longer than the run"),
        ({"device": "tpu9"}, "no device"),
        ({"model": "plain20", "drop_path": 0.1}, "no residual branches"),
        ({"model.options.zeroinit": True}, "zero_init"),
        ({"model": "lenet5", "image_size": 28}, "32x32"),
        ({"model": "resnet18", "batch_size": 1}, "may leave a single image"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(VertebraError, match=message):
        vb.train.fit(short(**changes), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


class Poison:
    """An observer that spoils a number of the network or of its optimiser after one step."""

    def __init__(self, step: int, where: str) -> None:
        self.step, self.where = step, where

    def on(self, event: Event, moment: Moment) -> None:
        if event is not Event.AFTER_STEP or moment.step != self.step:
            return
        weight = next(moment.model.parameters())
        spoilt = moment.optimizer.state[weight]["momentum_buffer"]
        (weight.data if self.where == "weight" else spoilt).flatten()[0] = torch.nan


@pytest.mark.parametrize(("step", "where"), [(11, "weight"), (16, "weight"), (16, "momentum")])
def test_a_state_that_is_not_finite_is_not_saved(tmp_path: Path, step: int, where: str) -> None:
    with pytest.raises(VertebraError, match=r"finite|loss became") as caught:
        vb.train.fit(short(), tmp_path / "run", observers=(Poison(step, where),))
    assert caught.value.exit_code == 1
    run = Run.open(tmp_path / "run")
    assert run.checkpoint().name == "step-000008", "the epoch before was good"
    assert all(torch.isfinite(value).all() for value in weights(run).values())
    resumed = vb.train.fit(resume=run.path)
    whole = vb.train.fit(short(), tmp_path / "whole")
    assert resumed.metrics == whole.metrics


def test_loss_that_explodes_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(VertebraError, match=r"finite|loss became") as caught:
        vb.train.fit(short(lr=1e9, precision="fp32"), tmp_path / "run")
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    ],
)
def test_out_of_memory_says_what_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("vertebra.train.loop.train_step", full)
    with pytest.raises(VertebraError, match=r"out of memory.*batch_size"):
        vb.train.fit(short(), tmp_path / "run")


def test_a_disk_that_is_full_at_the_report_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "report.html")

    with monkeypatch.context() as patch:
        patch.setattr("vertebra.report.Page.write", full)
        with pytest.raises(VertebraError, match=r"report.html: No space left .* --resume"):
            vb.train.fit(short(epochs=1), tmp_path / "run")
    vb.train.fit(resume=tmp_path / "run")
    whole = vb.train.fit(short(epochs=1), tmp_path / "whole")
    assert Run.open(tmp_path / "run").metrics == whole.metrics


def test_a_folder_left_by_a_failed_start_is_free(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (".lock", "environment.json", "data.json"):
        (folder / name).touch()
    assert vb.train.fit(short(epochs=1), folder).test is not None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(VertebraError, match="not empty"):
        vb.train.fit(short(epochs=1), tmp_path / "other")


def test_settings_are_the_callers_again() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with settings(short(threads=1)):
            pass
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_other_runtime_errors_keep_their_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("vertebra.train.loop.train_step", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        vb.train.fit(short(), tmp_path / "run")


def test_disk_that_refuses_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = vb.train.fit(short(epochs=1), tmp_path / "run")
    before = run.checkpoint()
    saved = load_checkpoint(run)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    from vertebra.train.checkpoint import save_checkpoint

    with pytest.raises(VertebraError, match="No space left"):
        save_checkpoint(run, saved, 999, best=False)
    monkeypatch.undo()
    assert run.checkpoint() == before
    assert load_checkpoint(run).state["progress"] == saved.state["progress"]
