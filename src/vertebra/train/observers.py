"""The observers that every run has: its metrics and its timing."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vertebra.core import VertebraError, sync_folder
from vertebra.runs import Event, Moment

# Steps whose loss waits on its device before it is read: reading one makes a GPU wait.
_FLUSH_STEPS = 50


class MetricsLog:
    """Writes ``metrics.jsonl``: every step's loss and rate, every epoch's figures.

    Nothing in it depends on the clock, so two equal runs write equal bytes.
    """

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        """Open ``path`` and cut it back to its first ``keep_bytes``."""
        self._file = path.open("ab")
        sync_folder(path.parent)
        if self._file.tell() < keep_bytes:
            raise VertebraError(f"{path} is shorter than its checkpoint says; it cannot go on")
        self._file.truncate(keep_bytes)
        self._file.seek(0, os.SEEK_END)
        self._waiting: list[tuple[int, int, float, Tensor]] = []

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def on(self, event: Event, moment: Moment) -> None:
        """Log steps and epochs; be complete on disk before a checkpoint counts on it."""
        if event is Event.AFTER_STEP and moment.step_loss is not None:
            row = (moment.step, moment.epoch, moment.learning_rate, moment.step_loss)
            self._waiting.append(row)
            if len(self._waiting) >= _FLUSH_STEPS:
                self._write_steps()
        elif event is Event.EPOCH_END:
            self._write_steps()
            for name, value in moment.metrics.items():
                if not math.isfinite(value):
                    raise VertebraError(
                        f"{name} became {value} in epoch {moment.epoch}; checkpoints, if any, "
                        f"are from before. A lower learning rate or fp32 may help",
                        exit_code=1,
                    )
            self.write(
                {"kind": "epoch", "epoch": moment.epoch, "step": moment.step} | dict(moment.metrics)
            )
        elif event is Event.SAVING:
            self._write_steps()
            self._sync()

    def write(self, row: dict[str, Any]) -> None:
        """Append one object."""
        self._file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Write what is waiting and close."""
        self._write_steps()
        self._sync()
        self._file.close()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _write_steps(self) -> None:
        if not self._waiting:
            return
        # Taken out first: what is raised below must not be written again when the log closes.
        rows, self._waiting = self._waiting, []
        losses = torch.stack([row[3] for row in rows]).tolist()
        for (step, epoch, rate, _), loss in zip(rows, losses, strict=True):
            if loss != loss or abs(loss) == float("inf"):
                raise VertebraError(
                    f"the loss became {loss} at step {step}, epoch {epoch + 1}; "
                    f"checkpoints, if any, are from before. A lower learning rate or fp32 may help",
                    exit_code=1,
                )
            self.write({"kind": "step", "step": step, "epoch": epoch, "lr": rate, "loss": loss})


class TimingLog:
    """Writes ``timing.jsonl``: what may differ between two equal runs.

    One object an epoch: seconds of training (validation apart) and images a second.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = self._trained = 0.0
        self._images = 0

    def on(self, event: Event, moment: Moment) -> None:
        """Take the times."""
        now = time.perf_counter()
        if event is Event.EPOCH_START:
            self._start, self._images = now, 0
        elif event is Event.AFTER_STEP:
            self._images += moment.step_images
            self._trained = now
        elif event is Event.EPOCH_END and self._images:
            seconds = self._trained - self._start
            row = {
                "epoch": moment.epoch,
                "train_seconds": round(seconds, 4),
                "validation_seconds": round(now - self._trained, 4),
                "images_per_second": round(self._images / seconds, 1),
            }
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
