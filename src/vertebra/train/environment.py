"""Where a run took place: versions, machine, command line, git state."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from vertebra.machine import Machine

_PACKAGES = ("vertebra", "torch", "torchvision", "numpy", "pillow", "safetensors", "scikit-learn")


def environment(machine: Machine, processes: int = 1) -> dict[str, Any]:
    """Everything about this place that could change a run's numbers or speed.

    ``processes``: how many train together.
    """
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "schema": "vertebra.environment/1",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "machine": asdict(machine),
        "gpu": gpu,
        "processes": processes,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "git": _git_state(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Commit of the working folder and whether it has changes (None: git did not say).

    None outside a repository.
    """
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return None
    status = _git("status", "--porcelain")
    return {"commit": commit, "changed": None if status is None else bool(status)}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
