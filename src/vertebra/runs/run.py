"""Reading a run folder. Loads no PyTorch: a run can be looked at anywhere."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra.core import Preprocessing, VertebraError, unknown
from vertebra.runs.recipe import Recipe

RECIPE = "recipe.yaml"
ENVIRONMENT = "environment.json"
DATA = "data.json"
METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"
CHECKPOINTS = "checkpoints"
REPORT = "report.html"


@dataclass(frozen=True)
class Run:
    """One training run on disk.

    Everything is read when it is asked for, so a run can be watched while it goes on.
    """

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """The run in a folder.

        Raises:
            VertebraError: there is no such folder, or no run in it.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise VertebraError(f"no run folder {folder}")
        if not (folder / RECIPE).is_file() or not (folder / DATA).is_file():
            raise VertebraError(f"{folder} is not a run: it has no {RECIPE} and {DATA}")
        return cls(folder)

    @functools.cached_property
    def recipe(self) -> Recipe:
        """The recipe as resolved for this run."""
        return Recipe.load(self.path / RECIPE)

    @property
    def card(self) -> dict[str, Any]:
        """What the run knew of its data: fingerprint, counts, what was skipped and why."""
        return self._json(DATA)

    @functools.cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, machine, command line and git state at the start."""
        return self._json(ENVIRONMENT)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return tuple(self.card["classes"])

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Every complete line of ``metrics.jsonl``: objects of kind "step", "epoch" or "test"."""
        path = self.path / METRICS
        if not path.exists():
            return []
        # A line without its end is being written, or was when the run was killed.
        complete = path.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in complete.split(b"\n") if line]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The metrics of each epoch so far."""
        return [line for line in self.metrics if line["kind"] == "epoch"]

    @property
    def test(self) -> dict[str, Any] | None:
        """The metrics on the test split, once the run is complete and if it has one."""
        return next((line for line in self.metrics if line["kind"] == "test"), None)

    @property
    def preprocessing(self) -> Preprocessing:
        """The evaluation transform that belongs to this run's weights."""
        try:
            return self.recipe.preprocessing
        except VertebraError:
            raise VertebraError(f"{self.path / RECIPE} is not fully resolved") from None

    def checkpoint(self, which: str = "last") -> Path:
        """The folder of the checkpoint that ``last`` or ``best`` names.

        Raises:
            VertebraError: neither of the two, or the run has none yet.
        """
        if which not in ("best", "last"):
            raise unknown("checkpoint", which, ("best", "last"))
        pointer = self.path / CHECKPOINTS / which
        if not pointer.is_file():
            raise VertebraError(f"{self.path} has no checkpoint '{which}' yet")
        return self.path / CHECKPOINTS / pointer.read_text().strip()

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is anything to resume from."""
        return (self.path / CHECKPOINTS / "last").is_file()

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            content: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise VertebraError(f"{path} cannot be read: {error}") from None
        return content
