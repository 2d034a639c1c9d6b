"""What of this machine we may use, and what it is."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from vertebra.machine import describe, usable_cores
from vertebra.machine.description import _cpu_info


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """An affinity of eight cores of sixteen."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)


def _version_1(root: Path, quota: int, period: int) -> None:
    (root / "cpu").mkdir()
    (root / "cpu/cpu.cfs_quota_us").write_text(f"{quota}\n")
    (root / "cpu/cpu.cfs_period_us").write_text(f"{period}\n")


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("cpu_max", "cores"),
    [
        ("max 100000\n", 8),
        ("150000 100000\n", 1),  # one core and a half: a second thread would be throttled
        ("50000 100000\n", 1),  # never none
        ("300000 100000\n", 3),
        ("299999 100000\n", 2),
        ("1600000 100000\n", 8),  # a quota above the affinity does not add cores
        ("garbage\n", 8),
    ],
)
def test_quota_of_version_2(tmp_path: Path, cpu_max: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(cpu_max)
    assert usable_cores(tmp_path) == cores


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("quota", "cores"), [(-1, 8), (150_000, 1), (400_000, 4), (10_000, 1), (1_600_000, 8)]
)
def test_quota_of_version_1(tmp_path: Path, quota: int, cores: int) -> None:
    _version_1(tmp_path, quota, 100_000)
    assert usable_cores(tmp_path) == cores


@pytest.mark.usefixtures("eight_cores")
def test_version_2_decides_where_both_are_mounted(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    _version_1(tmp_path, 600_000, 100_000)
    assert usable_cores(tmp_path) == 2


@pytest.mark.usefixtures("eight_cores")
def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "absent") == 8


def test_a_system_without_affinity_counts_its_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores(tmp_path) == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores(tmp_path) == 1


def test_describe_agrees_with_other_observers() -> None:
    machine = describe()
    assert machine.memory == psutil.virtual_memory().total
    assert 1 <= machine.cores <= (psutil.cpu_count() or 1)
    assert os.uname().sysname in machine.system
    assert machine.processor
    # PyTorch asks the processor itself which kernels it may run.
    flag = {"AVX512": "avx512f", "AVX2": "avx2"}.get(torch.backends.cpu.get_cpu_capability())
    if flag is not None:
        assert flag in machine.instruction_sets


def test_describe_loads_no_torch() -> None:
    code = (
        "import sys, vertebra.machine as m; m.describe(); m.time_call(int, rounds=1)\n"
        "print([name for name in ('torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_machine_is_known_again_and_its_instruction_sets_tell_it_apart() -> None:
    here = describe()
    assert describe().fingerprint == here.fingerprint
    newer_kernel = replace(here, system=here.system.replace(here.system.split()[1], "99.9"))
    assert newer_kernel.fingerprint == here.fingerprint
    others = [
        replace(here, instruction_sets=(*here.instruction_sets, "amx_int8")),
        replace(here, cores=here.cores + 1),
        replace(here, memory=here.memory + 2**32),
        replace(here, accelerators=("NVIDIA H200, 575.1",)),
    ]
    assert len({here.fingerprint, *(other.fingerprint for other in others)}) == 5


@pytest.mark.parametrize(
    ("lines", "processor"),
    [
        (
            "model name: AMD EPYC\ncpu family: 26\nmodel: 2\nstepping: 1\n",
            "AMD EPYC (cpu family 26, model 2, stepping 1)",
        ),
        ("CPU implementer: 0x41\nCPU part: 0xd40\n", "CPU implementer 0x41, CPU part 0xd40"),
        ("model name: A processor\n", "A processor"),
    ],
)
def test_processors_of_one_name_are_told_apart(tmp_path: Path, lines: str, processor: str) -> None:
    """A virtual machine may call two generations "AMD EPYC"; ARM's have no name at all."""
    (tmp_path / "cpuinfo").write_text(f"{lines}flags: fpu avx2 avx512f\n")
    name, flags = _cpu_info(tmp_path / "cpuinfo")
    assert processor in name
    assert flags == ("avx2", "avx512f")
