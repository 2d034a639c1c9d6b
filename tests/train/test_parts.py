"""Every part of a recipe in a run: what it changes, and that a stop changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import vertebra as vb
from vertebra.core import VertebraError
from vertebra.runs import Event, Moment, Recipe, Run
from vertebra.runtime import has_compiler
from vertebra.train.checkpoint import load_checkpoint
from vertebra.train.start import check_weights

TINY = {"epochs": 2, "warmup": "2ba", "batch_size": 128, "image_size": 16, "threads": 1}


def tiny(**changes: Any) -> Recipe:
    return Recipe.load("scratch-small", **{**TINY, **changes})


@pytest.fixture(autouse=True)
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page takes longer than these runs."""
    monkeypatch.setattr("vertebra.train.summary.write_report", lambda *_: None)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose weights others start from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vertebra.train.summary.write_report", lambda *_: None)
        recipe = tiny(epochs=5, batch_size=32)
        return vb.train.fit(recipe, tmp_path_factory.mktemp("learnt") / "run")


class StopAt:
    """An observer that ends the process's work after a step, as a crash would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on(self, event: Event, moment: Moment) -> None:
        if event is Event.AFTER_STEP and moment.step == self.step:
            raise InterruptedError


def losses(run: Run) -> list[float]:
    return [row["loss"] for row in run.metrics if row["kind"] == "step"]


# Each with what it needs beside it; together they are every part that has a state or a draw.
PARTS: dict[str, dict[str, Any]] = {
    "adam, one-cycle, mixing": {
        **{"optimizer": "adam", "schedule": "onecycle", "lr": 0.003},
        **{"mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1},
    },
    "lion, layer decay, sizes, policy": {
        **{"optimizer": "lion", "lr": 0.001, "layer_decay": 0.8, "erase": 0.5},
        **{"progressive": [[0, 16], [1, 24]], "policy": "randaugment"},
    },
    "lamb, constant, balanced, weighted": {
        **{"optimizer": "lamb", "lr": 0.01, "schedule": "constant"},
        **{"balanced": True, "class_weights": "balanced"},
    },
    "sam, average, clipping, micro-batches": {
        **{"sam_rho": 0.05, "micro_batch": 48},
        **{"ema_decay": 0.9, "ema_every": 2, "clip_norm": 0.1},
    },
    "repeats, short batch, dropped channels": {
        **{"repeats": 3, "short_batch": "keep", "checkpointing": True},
        **{"spatial_dropout": 0.3, "dropout": 0.2, "drop_path": 0.1},
    },
    "fp16": {"precision": "fp16", "model": "lenet5", "image_size": 32},
    "compiled": {"compile": True, "model": "lenet5", "image_size": 32},
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_resumes_to_the_same_bits(tmp_path: Path, name: str) -> None:
    """Killed in the first epoch, after a save in mid-epoch."""
    if PARTS[name].get("compile") and not has_compiler():
        pytest.skip("torch.compile needs a C++ compiler on the CPU")
    recipe = tiny(**PARTS[name])
    whole = vb.train.fit(recipe, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vertebra.train.loop.SAVE_EVERY", 0.0)
        with pytest.raises(VertebraError, match="go on with"):
            vb.train.fit(recipe, tmp_path / "killed", observers=(StopAt(7),))
    assert load_checkpoint(Run.open(tmp_path / "killed")).state["progress"]["step_in_epoch"] == 6
    again = vb.train.fit(resume=tmp_path / "killed")
    assert (again.path / "metrics.jsonl").read_bytes() == (
        whole.path / "metrics.jsonl"
    ).read_bytes()
    left, right = load_checkpoint(again), load_checkpoint(whole)
    assert all(torch.equal(left.weights[key], right.weights[key]) for key in right.weights)


def test_when_a_run_is_saved_changes_none_of_its_numbers(tmp_path: Path) -> None:
    """Saved after every step, and before validation; killed there. In float64 sums round too."""
    recipe = tiny(precision="fp64")
    whole = vb.train.fit(recipe, tmp_path / "whole")

    class Crash:
        def on(self, event: Event, moment: Moment) -> None:
            if event is Event.VALIDATION and moment.epoch == 1:
                raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vertebra.train.loop.SAVE_BEFORE_VALIDATION", 0.0)
        with pytest.raises(VertebraError, match="go on with"):
            vb.train.fit(recipe, tmp_path / "killed", observers=(Crash(),))
        state = load_checkpoint(Run.open(tmp_path / "killed")).state["progress"]
        assert (state["epoch"], state["step_in_epoch"]) == (1, 8)
        patch.setattr("vertebra.train.loop.SAVE_EVERY", 0.0)
        again = vb.train.fit(resume=tmp_path / "killed")
    whole_log, own_log = ((r.path / "metrics.jsonl").read_bytes() for r in (whole, again))
    assert own_log == whole_log


def test_the_last_checkpoint_is_named_after_the_steps_that_were_made(tmp_path: Path) -> None:
    run = vb.train.fit(tiny(duration="11ba"), tmp_path / "run")
    assert run.checkpoint().name == "step-000011"
    assert load_checkpoint(run).metadata["step"] == "11"


def test_a_sharpness_aware_step_counts_its_batch_once(tmp_path: Path) -> None:
    """The second forward, from the moved weights, is not what evaluation shall be like."""
    counts, means = [], []
    for number, change in enumerate(({}, {"sam_rho": 0.05})):
        recipe = tiny(duration="1ba", warmup=0, **change)
        weights = load_checkpoint(vb.train.fit(recipe, tmp_path / str(number))).weights
        counts.append({int(v) for n, v in weights.items() if n.endswith("num_batches_tracked")})
        means.append({n: v for n, v in weights.items() if n.endswith("running_mean")})
    assert counts == [{1}, {1}]
    assert all(torch.equal(means[0][name], means[1][name]) for name in means[0])


CHANGES: list[dict[str, Any]] = [
    *({"mixup": 1.0}, {"cutmix": 1.0}, {"label_smoothing": 0.1}, {"layer_decay": 0.8}),
    *({"sam_rho": 0.1}, {"clip_norm": 0.01}, {"balanced": True}, {"erase": 0.9}, {"jitter": 0.4}),
    *({"repeats": 2}, {"progressive": [[0, 24]]}, {"policy": "trivialaugment"}, {"dropout": 0.3}),
    *({"spatial_dropout": 0.3}, {"drop_path": 0.3}, {"nesterov": False}, {"decay": "all"}),
    *({"optimizer": "lamb"}, {"schedule": "onecycle"}, {"backbone_lr": 0.1}, {"seed": 1}),
    *({"class_weights": "balanced"}, {"micro_batch": 48}, {"precision": "fp64"}),
]


def test_every_part_changes_the_numbers(tmp_path: Path) -> None:
    """A field that is read and then forgotten would be a silent wrong number."""
    recipe = tiny(duration="3ba", warmup=0, precision="fp32", batch_size=64)
    curves = {"nothing": losses(vb.train.fit(recipe, tmp_path / "plain"))}
    for number, change in enumerate(CHANGES):
        run = vb.train.fit(recipe.override(**change), tmp_path / str(number))
        curves[str(change)] = losses(run)
    last = {what: curve[-1] for what, curve in curves.items()}
    same = [what for what in last if what != "nothing" and last[what] == last["nothing"]]
    assert not same
    assert len(set(last.values())) == len(CHANGES) + 1


def test_micro_batches_add_up_to_the_batch(tmp_path: Path) -> None:
    """A short last one weighs what its images weigh: 20 = 9 + 9 + 2. Without batch norm."""
    recipe = tiny(
        model="convnext_atto", precision="fp64", batch_size=20, drop_path=0, image_size=32
    )
    recipe = recipe.override(duration="3ba", lr=0.01)
    whole = vb.train.fit(recipe, tmp_path / "whole")
    parts = vb.train.fit(recipe.override(micro_batch=9), tmp_path / "parts")
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-12)
    assert losses(whole)[-1] != pytest.approx(losses(whole)[0], rel=1e-3)


def test_clipping_bounds_what_the_optimiser_sees(tmp_path: Path) -> None:
    seen: list[tuple[float, float]] = []

    class Norms:
        def on(self, event: Event, moment: Moment) -> None:
            if event is Event.AFTER_CLIPPING:
                assert moment.gradient_norm is not None
                grads = [p.grad for p in moment.model.parameters() if p.grad is not None]
                after = torch.linalg.vector_norm(torch.stack([g.norm() for g in grads]))
                seen.append((float(moment.gradient_norm), float(after)))

    vb.train.fit(tiny(clip_norm=0.5, duration="8ba"), tmp_path / "run", observers=(Norms(),))
    assert len(seen) == 8
    assert any(before > 0.6 for before, _ in seen)
    assert all(after <= 0.5001 for _, after in seen)


def test_the_head_learns_first_and_then_everything(tmp_path: Path, learnt: Run) -> None:
    moved: dict[int, set[str]] = {}
    before: dict[str, torch.Tensor] = {}

    class Moved:
        def on(self, event: Event, moment: Moment) -> None:
            state = {name: value.clone() for name, value in moment.model.state_dict().items()}
            if event is Event.AFTER_STEP:
                moved[moment.step] = {n for n in state if not torch.equal(state[n], before[n])}
            if event in (Event.RUN_START, Event.AFTER_STEP):
                before.update(state)

    recipe = tiny(weights=str(learnt.path), head_first="4ba", frozen_norm=False, duration="8ba")
    run = vb.train.fit(recipe, tmp_path / "run", observers=(Moved(),))
    assert moved[1] == moved[4] == {"head.fc.weight", "head.fc.bias"}
    assert any("running_mean" in name for name in moved[5])
    assert "stem.0.weight" in moved[5] or any(n.startswith("stem") for n in moved[5])
    assert losses(run)[0] < losses(learnt)[0] / 2, "it started from the weights"


def test_frozen_parts_and_frozen_norms_stay(tmp_path: Path, learnt: Run) -> None:
    start = load_checkpoint(learnt, "best").weights
    recipe = tiny(weights=str(learnt.path), freeze=["stem", "stages.0"], batch_size=8, lr=1e-3)
    recipe = recipe.override(duration="10ba")
    run = vb.train.fit(recipe, tmp_path / "run")
    assert run.recipe.train.frozen_norm is True, "eight images are few, and there are weights"
    ended = load_checkpoint(run).weights
    for name in ended:
        stays = name.startswith(("stem", "stages.0")) or ".norm" in name or "running" in name
        if stays or "batches" in name:
            assert torch.equal(ended[name], start[name]), name
    assert not torch.equal(ended["head.fc.weight"], start["head.fc.weight"])


def test_patience_ends_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    run = vb.train.fit(tiny(lr=1e-12, epochs=12, patience=2, warmup=0), tmp_path / "run")
    assert 3 <= len(run.epochs) < 12
    assert run.test is not None
    assert (
        run.test["epoch"] == max(run.epochs, key=lambda r: (r["val_top1"], -r["val_loss"]))["epoch"]
    )


def test_a_pupil_learns_from_a_teacher(tmp_path: Path, learnt: Run) -> None:
    teaching = {"teacher": str(learnt.path), "weight": 1.0, "temperature": 2.0}
    keys = {f"distill.{key}": value for key, value in teaching.items()}
    recipe = tiny(epochs=5, batch_size=32, mixup=0.5, seed=1, **keys)
    pupil = vb.train.fit(recipe, tmp_path / "pupil")
    assert pupil.test is not None
    assert pupil.test["top1"] > 0.8, "without the loss of a single label"


def test_a_teacher_that_changed_is_not_gone_on_with(tmp_path: Path, learnt: Run) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(learnt.path, teacher)
    recipe = tiny(weights=str(teacher), **{"distill.teacher": str(teacher)})
    with pytest.raises(VertebraError, match="go on with"):
        vb.train.fit(recipe, tmp_path / "pupil", observers=(StopAt(9),))
    file = Run.open(teacher).checkpoint("best") / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(VertebraError, match=r"distill.teacher .* is not what it was"):
        vb.train.fit(resume=tmp_path / "pupil")
    replayed = Recipe.load(tmp_path / "pupil" / "recipe.yaml")
    assert replayed.model.weights_sha256 is not None
    with pytest.raises(VertebraError, match=r"model.weights .* is not what it was"):
        check_weights(replayed)
    named_anew = Recipe.load(tmp_path / "pupil" / "recipe.yaml", weights=str(learnt.path))
    assert named_anew.model.weights_sha256 is None


def test_a_teacher_of_other_classes_is_refused(
    tmp_path: Path, make_folder: Any, learnt: Run
) -> None:
    recipe = tiny(data=str(make_folder(each=24)), batch_size=8, epochs=1)
    with pytest.raises(VertebraError, match="other classes"):
        vb.train.fit(recipe.override(**{"distill.teacher": str(learnt.path)}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_of_another_architecture_are_refused(tmp_path: Path, learnt: Run) -> None:
    recipe = tiny(model="resnet32", weights=str(learnt.path))
    with pytest.raises(VertebraError, match="holds weights of resnet20, not of resnet32"):
        vb.train.fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup": "9ep"}, "train.warmup .9ep, 72 steps. is longer than the run"),
        ({"schedule": "step", "step_every": "30ep"}, "train.step_every"),
        ({"schedule": "step", "step_at": ["1ep", "500ba"]}, "train.step_at"),
        ({"progressive": [[0, 16], [5, 24]]}, "data.progressive"),
        ({"head_first": "1ep"}, "needs model.weights"),
        ({"precision": "fp16", "sam_rho": 0.1}, "sam_rho"),
        ({"freeze": ["layer1"]}, "fits no parameter"),
        ({"model": "vit_ti_16", "image_size": 32, "spatial_dropout": 0.1}, "needs maps"),
        ({"weights": "runs/none"}, "runs/none"),
        ({"batch_size": 269, "short_batch": "keep", "model": "resnet18"}, "a single image"),
        (
            {
                **{"batch_size": 269, "short_batch": "keep", "model": "resnet18"},
                **{"image_size": 64, "progressive": [[0, 16], [1, 64]], "duration": "10ep"},
            },
            "a single image",
        ),
        ({"micro_batch": 127, "model": "resnet18"}, "a single image"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(VertebraError, match=message):
        vb.train.fit(tiny(**changes), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
