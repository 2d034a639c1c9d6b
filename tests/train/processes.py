"""The command as processes of its own: one, or several under torchrun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hosts import Host


def start(
    *arguments: str, cwd: Path, processes: int = 1, restarts: int = 0, own_group: bool = False
) -> subprocess.Popen[str]:
    """Start ``vertebra``; several processes by torchrun, which starts them again so often.

    ``own_group``: what is sent to its group of processes does not reach the tests.
    """
    launcher = [sys.executable, "-m", "vertebra"]
    if processes > 1:
        launcher = _torchrun(["--standalone"], processes, restarts)
    return _started([*launcher, *arguments], cwd, own_group=own_group)


def start_script(script: Path, *, cwd: Path, processes: int) -> subprocess.Popen[str]:
    """Start a script of one's own in several processes by torchrun."""
    options = ["--standalone", f"--nproc-per-node={processes}"]
    return _started([sys.executable, "-m", "torch.distributed.run", *options, str(script)], cwd)


def start_on(host: Host, meeting: Host, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """One process of two hosts' on one of them; they find each other at ``meeting``."""
    # The address of a namespace is not the machine's, by which torchrun knows the meeting place.
    place = f"--rdzv-endpoint={meeting.address}:29500", f"--rdzv-conf=is_host={host == meeting:d}"
    several = ("--nnodes=2", "--rdzv-id=test", "--rdzv-backend=c10d", *place)
    launcher = [*host.entering, *_torchrun([*several, f"--local-addr={host.address}"], 1, 3)]
    # The second variable as docs/scaling.md says for several machines.
    environment = {
        "GLOO_SOCKET_IFNAME": host.interface,
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    return _started([*launcher, *arguments], cwd, environment)


def _torchrun(meeting: Sequence[str], processes: int, restarts: int) -> list[str]:
    options = [*meeting, f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
    return [sys.executable, "-m", "torch.distributed.run", *options, "-m", "vertebra"]


def _started(
    command: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    own_group: bool = False,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=own_group,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
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
