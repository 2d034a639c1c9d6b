"""What runs on the very data say: the strongest evidence there is."""

from __future__ import annotations

from pathlib import Path

from vertebra.choice.candidate import Accuracy
from vertebra.choice.shares import wilson
from vertebra.core import VertebraError
from vertebra.runs import Run


def from_runs(folder: Path, fingerprint: str) -> dict[str, Accuracy]:
    """By model the best accuracy on validation images, of all runs in ``folder`` on this data.

    Validation and not test: choosing by the test images would spend them. Runs of other data, and
    folders that hold no run, are passed over.
    """
    found: dict[str, Accuracy] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            run = Run.open(path)
            if run.card["fingerprint"] != fingerprint:
                continue
            model, accuracy = run.recipe.model.name, _of_run(run)
        except VertebraError:  # no run, or one that cannot be read
            continue
        if accuracy and (model not in found or accuracy.value > found[model].value):
            found[model] = accuracy
    return found


def _of_run(run: Run) -> Accuracy | None:
    """Its best epoch; None before the first one."""
    epochs = [line for line in run.epochs if line.get("val_top1") is not None]
    if not epochs:
        return None
    top1 = max(line["val_top1"] for line in epochs)
    images = sum(run.card["counts"].get("val", {}).values())
    return Accuracy(top1, "runs", f"{run.path}, validation", wilson(top1, images))
