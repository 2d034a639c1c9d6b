"""A process that times PyTorch keeps the memory that a call frees for the next one."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from vertebra.bench import cells
from vertebra.bench.group import Group
from vertebra.machine import describe


def _faults(pid: int) -> int:
    """Pages that the kernel gave a process so far, without reading a disk: proc(5), minflt."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(after_name[7])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep it")
def test_a_call_takes_no_new_pages() -> None:
    """Maps of megabytes, which glibc by itself may map anew in each call, or not."""
    group = Group(cells(["efficientnet_b0"], threads=1), 64)
    with group.opened():
        (member,) = group.members
        before = _faults(member.child.pid)
        member.child.ask("time", 120, calls=20, warm=0)
        assert _faults(member.child.pid) - before < 200


def test_a_measurement_says_so() -> None:
    kept = {
        cell.setup.engine: cell.conditions(describe()).options.get("freed_memory")
        for engine in ("eager", "compile", "onnxruntime", "openvino")
        for cell in cells(["resnet20"], [engine])
    }
    assert kept == {"eager": "kept", "compile": "kept", "onnxruntime": None, "openvino": None}
