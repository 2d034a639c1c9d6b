"""The JSON documents of commands that answer with a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vertebra.runs import Run


def run_document(run: Run) -> dict[str, Any]:
    """A finished run: where it is, its last epoch and its test figures."""
    test = run.test
    return {
        "schema": "vertebra.run/1",
        "run": str(run.path),
        "model": run.recipe.model.name,
        "epoch": run.epochs[-1],
        "test": test,
        "top1": test["top1"] if test else run.epochs[-1]["val_top1"],
    }
