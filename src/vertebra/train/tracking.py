"""Runs in TensorBoard and MLflow: observers that copy what a run writes down anyway.

``runs/<name>/tracking.json`` remembers where a run is tracked, so that a resumed one goes on there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Protocol

import torch
from torch import Tensor

from vertebra.core import STOPPED, VertebraError, unknown, write_json
from vertebra.runs import Event, Moment, Recipe, Run

KINDS = ("mlflow", "tensorboard")
FILE = "tracking.json"
# Steps whose figures wait on their device before they are read: reading makes a GPU wait.
_FLUSH_STEPS = 50
_NEEDS = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow",)}

Tell = Callable[[str], None]
Row = tuple[str, float, int]  # name, value, step


class Sink(Protocol):
    """Where figures go."""

    def open(self, recipe: Recipe, step: int) -> None:
        """Begin, or go on after so many steps."""

    def write(self, rows: list[Row]) -> None:
        """Take figures."""

    def sync(self) -> None:
        """Put on disk what was taken."""

    def close(self, how: str, last: bool) -> None:
        """End: "finished", "stopped" or "failed"; ``last`` where the run has its test figures."""


class Tracker:
    """An observer that hands step losses, rates, gradient norms and epoch figures to a sink.

    A context: its end hands over the test figures, and says how the run ended. It changes nothing
    of the run and writes nothing into ``metrics.jsonl``.
    """

    def __init__(self, run: Run, sink: Sink) -> None:
        self._run, self._sink = run, sink
        self._waiting: list[tuple[int, float, Tensor, Tensor | None]] = []
        self._step, self._opened = 0, False

    def on(self, event: Event, moment: Moment) -> None:
        """Take what there is."""
        if event is Event.RUN_START:
            self._sink.open(moment.recipe, moment.step)
            self._step, self._opened = moment.step, True
        elif event is Event.AFTER_STEP and moment.step_loss is not None:
            self._step = moment.step
            norm = None if moment.gradient_norm is None else moment.gradient_norm.detach()
            self._waiting.append((moment.step, moment.learning_rate, moment.step_loss, norm))
            if len(self._waiting) >= _FLUSH_STEPS:
                self._hand_over()
        elif event is Event.EPOCH_END:
            self._hand_over()
            self._sink.write(
                [(f"epoch/{name}", value, moment.step) for name, value in moment.metrics.items()]
            )
        elif event is Event.SAVING:
            self._hand_over()
            self._sink.sync()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._opened:
            return
        self._hand_over()
        test = None if error is not None else self._run.test
        if test is not None:
            figures = {name: value for name, value in test.items() if name not in ("kind", "epoch")}
            rows = [
                (f"test/{n}", float(v), self._step) for n, v in figures.items() if v is not None
            ]
            self._sink.write(rows)
        self._sink.close(_how(error), test is not None)

    def _hand_over(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        losses = torch.stack([row[2] for row in waiting]).tolist()
        norms = [row[3] for row in waiting if row[3] is not None]
        found = iter(torch.stack(norms).tolist() if norms else [])
        rows: list[Row] = []
        for (step, rate, _, norm), loss in zip(waiting, losses, strict=True):
            rows += [("step/loss", loss, step), ("step/lr", rate, step)]
            if norm is not None:
                rows.append(("step/gradient_norm", next(found), step))
        self._sink.write(rows)


def check_trackers(kinds: Iterable[str]) -> None:
    """Refuse what cannot be tracked with, before a run begins.

    Raises:
        VertebraError: a name that is none, or a tool that is not installed.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("tracker", kind, KINDS)
        for package in _NEEDS[kind]:
            if find_spec(package) is None:
                raise VertebraError(
                    f"tracking with {kind} needs the package {package}: "
                    f"pip install 'vertebra[track]'"
                )


def tracker(kind: str, run: Run, *, uri: str | None = None, tell: Tell | None = None) -> Tracker:
    """An observer, to be entered as a context, that follows a run in one tool.

    Args:
        kind: "tensorboard", whose files lie in the run's folder ``tensorboard``, or "mlflow".
        run: the run. What it remembers of an earlier start is gone on with.
        uri: MLflow's tracking URI. None: the environment's MLFLOW_TRACKING_URI, else MLflow's own
            default, a database in the present folder. The experiment is MLFLOW_EXPERIMENT_NAME,
            else "vertebra". A URI with a password is not written into the run's folder, so a
            resumed run needs it again.
        tell: called with what the user should know.

    Raises:
        VertebraError: no such kind, the tool is not installed, or, at the run's start, MLflow
            cannot be reached.
    """
    check_trackers([kind])
    if kind == "tensorboard":
        from vertebra.train.tracking_tensorboard import TensorBoardSink

        remember(run, "tensorboard", {"folder": "tensorboard"})
        return Tracker(run, TensorBoardSink(run.path / "tensorboard"))
    from vertebra.train.tracking_mlflow import MlflowSink

    return Tracker(run, MlflowSink(run, uri, tell or _say_nothing))


def trackers_of(run: Run, kinds: Iterable[str] = (), tell: Tell | None = None) -> list[Tracker]:
    """Those asked for and those that the run had when it was stopped, each once.

    Raises:
        VertebraError: as :func:`tracker`.
    """
    wanted = sorted({*kinds, *remembered(run)})
    check_trackers(wanted)
    return [tracker(kind, run, tell=tell) for kind in wanted]


def remembered(run: Run) -> dict[str, dict[str, str]]:
    """Where the run is tracked so far, by kind.

    Raises:
        VertebraError: the file that says it is damaged.
    """
    path = run.path / FILE
    if not path.is_file():
        return {}
    try:
        content: dict[str, dict[str, str]] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise VertebraError(
            f"{path} cannot be read ({error}); without it the run goes on untracked"
        ) from None
    return content


def remember(run: Run, kind: str, where: Mapping[str, str]) -> None:
    """Write down where the run is tracked."""
    write_json(run.path / FILE, {**remembered(run), kind: dict(where)})


def parameters(recipe: Recipe) -> dict[str, bool | int | float | str]:
    """The recipe's fields by their full names, as tools for comparing runs take them.

    What is neither number nor text stands as JSON.
    """
    content = recipe.model_dump(mode="json")
    del content["about"]
    found: dict[str, bool | int | float | str] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict) and value:
            for key, part in value.items():
                walk(part, f"{name}.{key}" if name else key)
        elif isinstance(value, bool | int | float | str):
            found[name] = value
        else:
            found[name] = json.dumps(value)

    walk(content, "")
    return found


def _how(error: BaseException | None) -> str:
    if error is None:
        return "finished"
    stopped = isinstance(error, VertebraError) and error.exit_code == STOPPED
    return "stopped" if stopped or isinstance(error, KeyboardInterrupt) else "failed"


def _say_nothing(_text: str) -> None:
    return None
