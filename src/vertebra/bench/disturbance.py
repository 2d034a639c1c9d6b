"""What else uses this machine while something is measured on it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

# Shares of the time of all cores above which a measurement says so.
_BUSY, _STOLEN = 0.10, 0.02
_WORKING = ("user", "system", "nice", "irq", "softirq")


@dataclass(frozen=True)
class Reading:
    """Seconds since the start: of the cores that this process may use together, and what throttled
    its control group.
    """

    at: float
    working: float
    stolen: float
    own: float
    throttled: int
    too_hot: int


def read(pids: tuple[int, ...] = ()) -> Reading:
    """The counters now; ``own`` is the time of this process and of the processes ``pids``."""
    cores = _cores()
    return Reading(
        at=time.perf_counter(),
        working=sum(getattr(core, kind, 0.0) for core in cores for kind in _WORKING),
        stolen=sum(getattr(core, "steal", 0.0) for core in cores),
        own=sum(_seconds(pid) for pid in (psutil.Process().pid, *pids)),
        throttled=_throttled_periods(),
        too_hot=_thermal_events(),
    )


def now(seconds: float = 0.5) -> tuple[str, ...]:
    """What disturbs this machine at this moment, in words, by watching it for so long."""
    before = read()
    time.sleep(seconds)
    return warnings(before, read())


def warnings(before: Reading, after: Reading, cores: int | None = None) -> tuple[str, ...]:
    """What disturbed the time between two readings, in words."""
    capacity = (after.at - before.at) * (cores or len(_cores()))
    if capacity <= 0:
        return ()
    others = (after.working - before.working - (after.own - before.own)) / capacity
    stolen = (after.stolen - before.stolen) / capacity
    found = []
    if others > _BUSY:
        found.append(f"other processes took {100 * others:.0f} % of the cores")
    if stolen > _STOLEN:
        found.append(f"the host took {100 * stolen:.0f} % of the cores away")
    if after.throttled > before.throttled:
        found.append("the control group's CPU quota throttled it")
    if after.too_hot > before.too_hot:
        found.append("the CPU throttled itself for heat")
    return tuple(found)


def _cores() -> list[Any]:
    """The times of each core that this process may use: on a machine of many, what its neighbours
    do on the others does not disturb it.
    """
    times = psutil.cpu_times(percpu=True)
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(times))
    # Cores are numbered with gaps where some are switched off, and then are not told apart.
    return [times[core] for core in allowed] if max(allowed) < len(times) else times


def _seconds(pid: int) -> float:
    try:
        used = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(used.user + used.system)


def _throttled_periods(group: Path = Path("/sys/fs/cgroup")) -> int:
    """How often the quota held this group back, by version 2 or 1; 0 where it is not told."""
    for path in (group / "cpu.stat", group / "cpu/cpu.stat"):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        counts = [int(line.split()[1]) for line in lines if line.startswith("nr_throttled ")]
        if counts:
            return counts[0]
    return 0


def _thermal_events(cpus: Path = Path("/sys/devices/system/cpu")) -> int:
    """How often cores were slowed for heat; 0 where it is not told."""
    paths = cpus.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    return sum(int(path.read_text()) for path in paths)
