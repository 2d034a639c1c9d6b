"""Resident memory of this process, as Linux keeps it."""

from __future__ import annotations

from pathlib import Path

import psutil

_STATUS = Path("/proc/self/status")


def resident() -> int:
    """Bytes that this process has in memory now."""
    return int(psutil.Process().memory_info().rss)


def reset_peak() -> None:
    """Forget the highest so far; where the system does not let us, it stays."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # the peak is then that of the whole life of the process: never less than the truth


def peak() -> int:
    """The most bytes that this process had in memory since :func:`reset_peak`, or ever."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    # Not Linux: what the system reports of the whole life of the process, kilobytes or bytes.
    import resource
    import sys

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
