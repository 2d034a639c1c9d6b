"""Freed memory is kept when a program asks for it, and given back once when it asks for that."""

from __future__ import annotations

import json
import subprocess
import sys

import vertebra as vb

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
