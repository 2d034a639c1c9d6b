"""Freed memory is kept when a program asks for it, and given back once when it asks for that."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import vertebra as vb
from vertebra.machine import memory

SCRIPT = """
import json, psutil, torch, vertebra as vb

def resident():
    return psutil.Process().memory_info().rss / 2**20

vb.machine.keep_freed_memory()
blocks = [torch.ones(8 * 2**20, dtype=torch.uint8) for _ in range(50)]
full = resident()
last = blocks.pop()
del blocks
kept = resident()
vb.machine.give_back_freed_memory()
print(json.dumps([full, kept, resident()]))
"""


def test_freed_memory_is_kept_and_then_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    if not sys.platform.startswith("linux"):  # glibc alone has the switch
        assert not vb.machine.keep_freed_memory()
        assert not vb.machine.give_back_freed_memory()
        return
    full, kept, given_back = json.loads(done.stdout)
    assert kept > full - 50
    assert given_back < full - 300, "MiB of 392 freed, although a later block still stands"


@pytest.mark.parametrize(("most", "took"), [(1 << 31, True), (32 << 20, True), (1 << 20, False)])
def test_an_older_c_library_that_takes_less_is_asked_for_less(
    most: int, took: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: dict[int, int] = {}

    def mallopt(parameter: int, value: int) -> int:
        if parameter == memory._M_MMAP_THRESHOLD and value > most:
            return 0
        set_to[parameter] = value
        return 1

    monkeypatch.setattr(memory, "_mallopt", lambda: mallopt)
    assert vb.machine.keep_freed_memory() is took
    assert (memory._M_TRIM_THRESHOLD in set_to) is took
    assert all(set_to[parameter] >= 32 << 20 for parameter in set_to)
