"""A process that times PyTorch keeps the memory that a call frees for the next one."""

from __future__ import annotations

import platform
from pathlib import Path

from vertebra.bench import cells
from vertebra.bench.group import Group
from vertebra.machine import describe

GLIBC = platform.libc_ver()[0] == "glibc"


def _faults(pid: int) -> int:
    """Pages that the kernel gave a process so far, without reading a disk: proc(5), minflt."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(after_name[7])


def test_a_measurement_says_whether_it_was_kept() -> None:
    """Only PyTorch allocates anew in each call, and only glibc can be told to keep it."""
    kept = {
        engine: cells(["resnet20"], [engine])[0].conditions(describe()).options.get("freed_memory")
        for engine in ("eager", "compile", "onnxruntime", "openvino")
    }
    here = "kept" if GLIBC else None
    assert kept == {"eager": here, "compile": here, "onnxruntime": None, "openvino": None}


def test_then_a_call_takes_no_new_pages() -> None:
    """Of a network with maps of megabytes, which glibc by itself may map anew in each call."""
    group = Group(cells(["efficientnet_b0"], threads=1), 64)
    with group.opened():
        (member,) = group.members
        calls = 20
        # A heap may still grow a little; what is given back costs thousands of pages a call.
        pages = _faults(member.child.pid) if GLIBC else 0
        assert len(member.child.ask("time", 120, calls=calls, warm=0)["samples"]) == calls
        if GLIBC:
            assert _faults(member.child.pid) - pages < 100 * calls
