"""TensorBoard's side of tracking: event files in the run's own folder.

A resumed run begins a new file that says from which step on it replaces the ones before it;
TensorBoard and its ``EventAccumulator`` then show nothing that was logged after the checkpoint.
Values are float32 there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vertebra.runs import Recipe
from vertebra.train.tracking import Row, parameters

# What TensorBoard's table of runs shows beside the recipe.
_SHOWN = ("test/top1", "test/loss", "epoch/val_top1", "epoch/val_loss")


class TensorBoardSink:
    """Scalars by step, the recipe as text and as hyperparameters."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None
        self._end: Any = None

    def open(self, recipe: Recipe, step: int) -> None:
        """Begin a file; of a resumed run one that replaces what comes after ``step``."""
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        again = self._folder.is_dir() and any(self._folder.iterdir())
        # Figures of step N are those after N steps, so the first to be replaced is the next one's.
        self._writer = SummaryWriter(str(self._folder), purge_step=step + 1 if again else None)
        self._writer.add_text("recipe", f"```yaml\n{recipe.to_yaml()}```", step)
        shown = dict.fromkeys(_SHOWN, 0.0)
        experiment, start, self._end = hparams(parameters(recipe), shown)  # type: ignore[no-untyped-call]
        self._writer.file_writer.add_summary(experiment, step)
        self._writer.file_writer.add_summary(start, step)

    def write(self, rows: list[Row]) -> None:
        """Add scalars."""
        for name, value, step in rows:
            self._writer.add_scalar(name, value, step)

    def sync(self) -> None:
        """Write out what its thread still holds."""
        self._writer.flush()

    def close(self, how: str, last: bool) -> None:
        """Say that the run has ended, if it has, and close the file."""
        if last:
            self._writer.file_writer.add_summary(self._end)
        self._writer.close()
