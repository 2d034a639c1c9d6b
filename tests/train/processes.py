"""The command as processes of its own: one, or several under torchrun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def start(
    *arguments: str, cwd: Path, processes: int = 1, restarts: int = 0
) -> subprocess.Popen[str]:
    """Start ``vertebra``; several processes by torchrun, which starts them again so often."""
    launcher = ["-m", "vertebra"]
    if processes > 1:
        options = ["--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
        launcher = ["-m", "torch.distributed.run", "--standalone", *options, "-m", "vertebra"]
    return subprocess.Popen(
        [sys.executable, *launcher, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a good end; what it printed."""
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    return out


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[float]:
    """The loss of each step."""
    return [row["loss"] for row in metrics(run) if row["kind"] == "step"]
