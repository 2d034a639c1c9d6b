"""A save of a checkpoint that dies by SIGKILL before one of its file operations.

The operations are those that Python reports to audit hooks (open for writing, rename, remove,
mkdir, rmdir) below the run's checkpoints, and each fsync of what lies there.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from vertebra.runs import Run
from vertebra.train.checkpoint import load_checkpoint, save_checkpoint

_CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")


def save_and_die(run: Path, other: Path, step: int, die_at: int) -> None:
    """Save the checkpoint of run ``other`` as the last and best one of ``run``; in a process of
    its own. Exits with 0 where the save has no more than ``die_at`` operations.
    """
    checkpoint = load_checkpoint(Run.open(other))
    folder = str((run / "checkpoints").resolve())
    seen = 0

    def count() -> None:
        nonlocal seen
        if seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _CHANGES or not str(arguments[0]).startswith(folder):
            return
        if event != "open" or arguments[2] & os.O_WRONLY:
            count()

    fsync = os.fsync

    def counted_fsync(handle: int) -> None:
        if str(Path(f"/proc/self/fd/{handle}").readlink()).startswith(folder):
            count()
        fsync(handle)

    sys.addaudithook(hook)
    os.fsync = counted_fsync
    save_checkpoint(Run.open(run.resolve()), checkpoint, step, best=True)
