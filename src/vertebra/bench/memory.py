"""Memory of this process: what is resident, as Linux keeps it, and what it holds of a GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")


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

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def peak_on_gpus() -> int | None:
    """The most bytes that PyTorch ever held of the GPUs here; None where it holds none.

    What the driver keeps for the process (its context, some hundred megabytes) is not told.
    """
    torch: Any = sys.modules.get("torch")  # nothing is on a GPU through PyTorch before it is loaded
    if torch is None or not torch.cuda.is_initialized():
        return None
    every = range(torch.cuda.device_count())
    return sum(int(torch.cuda.max_memory_reserved(index)) for index in every)
