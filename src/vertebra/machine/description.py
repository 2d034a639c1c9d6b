"""Facts about the machine that change numbers or speed."""

import contextlib
import hashlib
import json
import math
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

# Instruction sets that decide which precision is worth running on a CPU, by their kernel names.
_RELEVANT_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "avx512_vnni",
    "avx_vnni",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
    "sve",
)
# What tells processors apart of which a virtual machine says only "AMD EPYC", or that have no name
# there, as ARM's.
_MODEL_FIELDS = ("cpu family", "model", "stepping", "CPU implementer", "CPU part", "CPU variant")


@dataclass(frozen=True)
class Machine:
    """One machine as a run records it.

    ``memory`` is what may be used of it, in bytes. ``accelerators`` are its GPUs, each by its name
    and the version of its driver.
    """

    system: str
    processor: str
    cores: int
    instruction_sets: tuple[str, ...]
    memory: int
    accelerators: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of all that a time hangs on; not of the kernel's release.

        Memory counts in whole GiB: a machine does not report the same byte after every start.
        """
        kind = self.system.split()[0], self.system.split()[-1]
        facts = (kind, self.processor, self.cores, self.instruction_sets, self.accelerators)
        text = json.dumps([*facts, round(self.memory / 2**30)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def has_bf16(self) -> bool:
        """Whether the CPU multiplies bfloat16 in hardware."""
        return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(self.instruction_sets))


def _quota_cores(root: Path) -> float:
    """The CPU quota of this process's control group in cores, ``inf`` without one.

    Reads version 2 (``cpu.max``), then version 1 (``cpu.cfs_quota_us``), at the mount's root, where
    a container sees its own limit.
    """
    try:
        quota, period = (root / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota_us = int((root / "cpu/cpu.cfs_quota_us").read_text())
        period_us = int((root / "cpu/cpu.cfs_period_us").read_text())
        return quota_us / period_us if quota_us > 0 else math.inf
    except (OSError, ValueError):
        return math.inf


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may really use: its affinity, capped by its group's quota."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min(allowed, math.floor(min(_quota_cores(cgroup), allowed) + 1e-9)))


def _usable_memory(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that this process may use: the machine's, capped by its control group."""
    limits = [int(psutil.virtual_memory().total)]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # version 2, version 1
        # Absent, or the word "max".
        with contextlib.suppress(OSError, ValueError):
            limits.append(int((root / name).read_text()))
    return min(limits)


def _cpu_info(source: Path = Path("/proc/cpuinfo")) -> tuple[str, tuple[str, ...]]:
    """Processor with its model, and its relevant instruction sets; by name alone but on Linux."""
    try:
        text = source.read_text()
    except OSError:
        return platform.processor() or platform.machine(), ()
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    name = fields.get("model name", platform.machine())
    model = ", ".join(f"{key} {fields[key]}" for key in _MODEL_FIELDS if fields.get(key))
    full_name = f"{name} ({model})" if model else name
    return full_name, tuple(flag for flag in _RELEVANT_FLAGS if flag in flags)


def _accelerators() -> tuple[str, ...]:
    """GPUs of NVIDIA, as their driver's own tool names them; empty where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()  # a tool without a driver that answers
    return tuple(line.strip() for line in answer.stdout.splitlines() if line.strip())


def describe() -> Machine:
    """Describe this machine without loading PyTorch."""
    processor, flags = _cpu_info()
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=processor,
        cores=usable_cores(),
        instruction_sets=flags,
        memory=_usable_memory(),
        accelerators=_accelerators(),
    )
