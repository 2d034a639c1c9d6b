"""Tracking, read back by the tools' own readers."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vertebra as vb
from vertebra.core import STOPPED, VertebraError
from vertebra.runs import Event, Moment, Recipe, Run
from vertebra.train import tracking, tracking_mlflow
from vertebra.train.tracking import check_trackers, parameters, remembered, tracker, trackers_of

accumulators = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="needs vertebra[track]"
)
mlflow = pytest.importorskip("mlflow", reason="needs vertebra[track]")
from torch.utils.tensorboard import SummaryWriter  # noqa: E402 - only where there is TensorBoard


def tiny(**changes: Any) -> Recipe:
    size = {"epochs": 2, "warmup": "2ba", "batch_size": 256, "image_size": 16, "threads": 1}
    given = {"model": "resnet20", "data": "digits", "clip_norm": 1.0, **size, **changes}
    return Recipe.load("scratch-small", **given)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vertebra.train.summary.write_report", lambda *_: None)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MLflow takes seconds to make its tables."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


class Late:
    """A tracker for a run whose folder is made by what is observed."""

    def __init__(self, kind: str, out: Path, **options: Any) -> None:
        self.kind, self.out, self.options = kind, out, options
        self.tracker: Any = None

    def on(self, event: Event, moment: Moment) -> None:
        if event is Event.RUN_START:
            self.tracker = tracker(self.kind, Run.open(self.out), **self.options)
        self.tracker.on(event, moment)

    def __enter__(self) -> Late:
        return self

    def __exit__(self, *error: Any) -> None:
        self.tracker.__exit__(*error)


class StopAt:
    def __init__(self, step: int, error: BaseException) -> None:
        self.step, self.error = step, error

    def on(self, event: Event, moment: Moment) -> None:
        if event is Event.AFTER_STEP and moment.step == self.step:
            raise self.error


def tracked(
    kind: str, out: Path, *others: Any, recipe: Recipe | None = None, **options: Any
) -> Run:
    """A run with a tracker; resumed, with the one that it remembers, where no recipe is given."""
    if recipe is None:
        return vb.train.fit(resume=out, observers=others)
    with Late(kind, out, **options) as late:
        return vb.train.fit(recipe, out, observers=(late, *others))


def expected(run: Run) -> dict[str, list[tuple[int, float]]]:
    """What a run wrote down itself, as the tools should show it."""
    found: dict[str, list[tuple[int, float]]] = {}
    last = 0
    for row in run.metrics:
        if row["kind"] == "step":
            last = row["step"]
            found.setdefault("step/loss", []).append((last, row["loss"]))
            found.setdefault("step/lr", []).append((last, row["lr"]))
            continue
        for name in set(row) - {"kind", "epoch", "step"}:
            found.setdefault(f"{row['kind']}/{name}", []).append((last, row[name]))
    return found


def in_tensorboard(run: Run) -> dict[str, list[tuple[int, float]]]:
    events = accumulators.EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def in_mlflow(run: Run, store: str) -> dict[str, list[tuple[int, float]]]:
    client = mlflow.MlflowClient(tracking_uri=store)
    identity = remembered(run)["mlflow"]["run_id"]
    names = client.get_run(identity).data.metrics
    return {
        name: sorted((m.step, m.value) for m in client.get_metric_history(identity, name))
        for name in names
    }


READERS: dict[str, Callable[[Run, str], dict[str, list[tuple[int, float]]]]] = {
    "tensorboard": lambda run, _store: in_tensorboard(run),
    "mlflow": in_mlflow,
}


def options_of(kind: str, store: str) -> dict[str, Any]:
    return {"uri": store} if kind == "mlflow" else {}


def check_equal(
    found: dict[str, list[tuple[int, float]]], wanted: dict[str, list[tuple[int, float]]]
) -> None:
    norms = found.pop("step/gradient_norm")
    assert [step for step, _ in norms] == [step for step, _ in wanted["step/loss"]]
    assert all(value > 0 for _, value in norms)
    assert found.keys() == wanted.keys()
    for name, rows in wanted.items():
        assert [step for step, _ in found[name]] == [step for step, _ in rows]
        values = [value for _, value in found[name]]
        assert values == pytest.approx([value for _, value in rows], rel=1e-6), name


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, store: str) -> Run:
    """A run in both tools at once."""
    out = tmp_path_factory.mktemp("both") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vertebra.train.summary.write_report", lambda *_: None)
        with Late("tensorboard", out) as late:
            return tracked("mlflow", out, late, recipe=tiny(), uri=store)


def test_a_run_is_shown_and_stays_the_same_to_the_bit(
    tmp_path: Path, both: Run, store: str
) -> None:
    plain = vb.train.fit(tiny(), tmp_path / "plain")
    for file in ("metrics.jsonl", "recipe.yaml"):
        assert (both.path / file).read_bytes() == (plain.path / file).read_bytes()
    assert expected(both).keys() >= {"step/loss", "step/lr", "epoch/val_top1", "test/top1"}
    check_equal(in_tensorboard(both), expected(both))
    check_equal(in_mlflow(both, store), expected(both))


@pytest.mark.parametrize("kind", READERS)
def test_a_killed_run_goes_on_in_the_same_place_with_no_step_twice(
    tmp_path: Path, kind: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps 5 to 7 were shown, and 4 is the last that was saved."""
    monkeypatch.setattr(tracking, "_FLUSH_STEPS", 1)
    out, options = tmp_path / "run", options_of(kind, store)
    before = random.getstate(), str(np.random.get_state())
    with pytest.raises(VertebraError, match="go on with"):
        tracked(kind, out, StopAt(7, InterruptedError()), recipe=tiny(), **options)
    assert (random.getstate(), str(np.random.get_state())) == before
    assert Run.open(out).checkpoint().name == "step-000004"
    shown = READERS[kind](Run.open(out), store)["step/loss"]
    assert [step for step, _ in shown] == list(range(1, 8))
    if kind == "tensorboard":  # what was lost is replaced, whatever it said
        with SummaryWriter(str(out / "tensorboard")) as other:
            other.add_scalar("step/loss", 99.0, 6)
        assert (6, 99.0) in in_tensorboard(Run.open(out))["step/loss"]
    place = remembered(Run.open(out))
    run = tracked(kind, out)
    assert remembered(run) == place
    check_equal(READERS[kind](run, store), expected(run))


def test_tensorboard_has_the_recipe(both: Run) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    events = accumulators.EventAccumulator(str(both.path / "tensorboard"))
    events.Reload()
    text = events.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0].decode()
    assert both.recipe.to_yaml() in text
    parts = events.PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(parts["_hparams_/session_start_info"])
    given = start.session_start_info.hparams
    assert given["train.lr"].number_value == both.recipe.train.lr
    assert given["model.name"].string_value == "resnet20"
    assert "_hparams_/session_end_info" in parts


def test_mlflow_has_the_recipe_and_how_the_run_ended(tmp_path: Path, both: Run, store: str) -> None:
    client = mlflow.MlflowClient(tracking_uri=store)
    found = client.get_run(remembered(both)["mlflow"]["run_id"])
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "run"
    given = found.data.params
    assert given.keys() == parameters(both.recipe).keys()
    assert float(given["train.lr"]) == both.recipe.train.lr
    assert given["train.warmup"] == "2ba"
    assert found.data.tags["vertebra.recipe"] == both.recipe.digest
    for error, status in ((InterruptedError(), "FAILED"), (_stopped(), "KILLED")):
        out = tmp_path / status
        with pytest.raises(VertebraError):
            tracked("mlflow", out, StopAt(1, error), recipe=tiny(), uri=store)
        identity = remembered(Run.open(out))["mlflow"]["run_id"]
        assert client.get_run(identity).info.status == status


def _stopped() -> VertebraError:
    return VertebraError("stopped", exit_code=STOPPED)


def test_a_silent_mlflow_ends_no_run_and_gets_its_figures_later(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, said, calls = mlflow.MlflowClient.log_batch, list[str](), [0]

    def failing(self: Any, *args: Any, **options: Any) -> Any:
        calls[0] += bool(options.get("metrics"))
        if options.get("metrics") and calls[0] <= 3:
            raise ConnectionError("no route to host")
        return plain(self, *args, **options)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", failing)
    monkeypatch.setattr(tracking, "_FLUSH_STEPS", 1)
    run = tracked("mlflow", tmp_path / "run", recipe=tiny(), uri=store, tell=said.append)
    assert [line.partition(" (")[0] for line in said] == [
        "MLflow does not answer",
        "MLflow answers again",
    ]
    check_equal(in_mlflow(run, store), expected(run))


def test_a_server_that_is_not_there_is_said_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = vb.train.fit(tiny(duration="1ba", warmup=0), tmp_path / "run")
    sink = tracker("mlflow", run, uri="http://me:secret@127.0.0.1:9")
    moment = Moment(run.recipe, model=None, optimizer=None)  # type: ignore[arg-type]
    with pytest.raises(VertebraError, match="does not answer") as caught, sink:
        sink.on(Event.RUN_START, moment)
    assert "secret" not in str(caught.value)
    assert remembered(run) == {}


def test_a_password_is_written_nowhere() -> None:
    shown = tracking_mlflow.public("postgresql://me:s3cr@t@host:5432/db")
    assert shown == "postgresql://***@host:5432/db"
    for harmless in ("sqlite:////tmp/a:b@c.db", "http://host:5000", "file:///tmp/mlruns"):
        assert tracking_mlflow.public(harmless) == harmless


def test_a_resumed_run_is_tracked_as_before(tmp_path: Path, store: str) -> None:
    run = vb.train.fit(tiny(duration="1ba", warmup=0), tmp_path / "run")
    assert trackers_of(run) == []
    assert len(trackers_of(run, ["tensorboard"])) == 1
    tracking.remember(run, "mlflow", {"uri": store, "run_id": "0"})
    assert len(trackers_of(run, ["tensorboard"])) == 2
    (run.path / tracking.FILE).write_text("{")
    with pytest.raises(VertebraError, match="cannot be read"):
        trackers_of(run)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VertebraError, match="did you mean tensorboard"):
        check_trackers(["tensorbord"])
    monkeypatch.setattr(tracking, "find_spec", lambda _name: None)
    for kind in tracking.KINDS:
        with pytest.raises(VertebraError, match=r"pip install 'vertebra\[track\]'"):
            check_trackers([kind])


def test_mlflow_is_loaded_when_it_is_needed_and_sends_no_telemetry(store: str) -> None:
    """Asked of MLflow itself, where nothing else that it heeds switches it off."""
    code = (
        "import sys, vertebra.train.tracking\n"
        "assert not {'mlflow', 'tensorboard'} & {name.split('.')[0] for name in sys.modules}\n"
        "from vertebra.train.tracking_mlflow import client; client(sys.argv[1])\n"
        "from mlflow.telemetry import get_telemetry_client\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "print(is_telemetry_disabled(), get_telemetry_client())"
    )
    kept = {"PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH"}
    answer = subprocess.run(
        [sys.executable, "-c", code, store],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name in kept},
    )
    assert answer.stdout.split() == ["True", "None"]
