"""Progress on stderr: a bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vertebra.runs import Event

if TYPE_CHECKING:
    from vertebra.runs import Moment

# How often the bar's figures are renewed: reading the loss makes a GPU wait.
_SECONDS = 0.5


class TrainingProgress:
    """An observer that shows loss, accuracy, images a second and the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", start=False, epoch="", figures="", total=None)
        self._shown = self._began = 0.0
        self._images = 0
        self._rate = 0.0

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def on(self, event: Event, moment: Moment) -> None:
        """Show what happened."""
        if event is Event.RUN_START:
            self._bar.start()
            self._bar.start_task(self._task)
            self._bar.update(self._task, total=moment.total_steps, completed=moment.step)
        elif event is Event.EPOCH_START:
            self._began, self._images = time.perf_counter(), 0
        elif event is Event.AFTER_STEP:
            self._step(moment)
        elif event is Event.EPOCH_END:
            self._epoch(moment)
        elif event is Event.RUN_END:
            self._bar.stop()

    def _step(self, moment: Moment) -> None:
        now = time.perf_counter()
        self._images += moment.step_images
        self._rate = self._images / max(now - self._began, 1e-9)
        self._bar.update(self._task, completed=moment.step)
        if now - self._shown < _SECONDS or self._bar.disable:
            return
        self._shown = now
        assert moment.loss is not None
        assert moment.logits is not None
        assert moment.targets is not None
        right = moment.logits.argmax(1).eq(moment.targets).float().mean().item()
        figures = (
            f"loss {moment.loss.item():.3f}  batch top-1 {right:.1%}  {self._rate:.0f} images/s"
        )
        epoch = f"{moment.epoch + 1}/{moment.epochs}"
        self._bar.update(self._task, epoch=epoch, figures=figures)

    def _epoch(self, moment: Moment) -> None:
        m = moment.metrics
        self._console.print(
            f"epoch {moment.epoch:>3}/{moment.epochs}  "
            f"loss {m['train_loss']:.4f}  top-1 {m['train_top1']:7.2%}  "
            f"val loss {m['val_loss']:.4f}  val top-1 {m['val_top1']:7.2%}  "
            f"{self._rate:.0f} images/s",
            markup=False,
        )
