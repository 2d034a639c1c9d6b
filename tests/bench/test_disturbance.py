"""What disturbs a measurement is seen: a process beside it, a quota, the host, memory taken."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from vertebra.bench import disturbance, memory
from vertebra.bench.disturbance import Reading, warnings

START = Reading(at=100.0, working=1000.0, stolen=5.0, own=10.0, throttled=3, too_hot=0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        # Ten seconds of two cores: twenty. This bench itself worked for nine.
        ({"working": 1009.0, "own": 19.0}, ()),
        ({"working": 1012.0, "own": 19.0}, ("other processes took 15 % of the cores",)),
        ({"stolen": 6.0}, ("the host took 5 % of the cores away",)),
        ({"throttled": 4}, ("the control group's CPU quota throttled it",)),
        ({"too_hot": 1}, ("the CPU throttled itself for heat",)),
    ],
)
def test_each_kind_is_told_in_words(change: dict[str, float], says: tuple[str, ...]) -> None:
    after = dataclasses.replace(START, at=110.0, **change)
    assert warnings(START, after, cores=2) == says


def test_a_process_beside_it_is_seen_and_its_own_are_not() -> None:
    busy = [sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(busy) as other:
        try:
            before = disturbance.read(), disturbance.read((other.pid,))
            time.sleep(1.5)
            after = disturbance.read(), disturbance.read((other.pid,))
        finally:
            other.kill()
    seen = [(b.working - b.own) - (a.working - a.own) for a, b in zip(before, after, strict=True)]
    # Whatever else runs here is in both.
    assert seen[0] - seen[1] == pytest.approx(after[1].own - before[1].own, abs=0.1)
    assert seen[0] - seen[1] > 0.3


def test_a_busy_machine_is_told_before_anything_is_measured() -> None:
    busy = [sys.executable, "-c", "while True: pass"]
    with contextlib.ExitStack() as stack:
        for _ in range(math.ceil((psutil.cpu_count() or 1) / 3)):
            stack.callback(stack.enter_context(subprocess.Popen(busy)).kill)
        time.sleep(0.3)
        assert any("other processes took" in text for text in disturbance.now())


def test_counters_of_both_versions_of_control_groups_are_read(tmp_path: Path) -> None:
    assert disturbance._throttled_periods(tmp_path) == 0
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.stat").write_text("nr_periods 9\nnr_throttled 7\n")
    assert disturbance._throttled_periods(tmp_path) == 7
    (tmp_path / "cpu.stat").write_text("usage_usec 1\nnr_throttled 4\nthrottled_usec 5\n")
    assert disturbance._throttled_periods(tmp_path) == 4
    for core, count in (("cpu0", "2"), ("cpu1", "3")):
        place = tmp_path / core / "thermal_throttle"
        place.mkdir(parents=True)
        (place / "core_throttle_count").write_text(f"{count}\n")
    assert disturbance._thermal_events(tmp_path) == 5


def test_memory_that_was_given_back_is_in_the_peak() -> None:
    program = (
        "import psutil\n"
        "from vertebra.bench.memory import peak, peak_on_gpus, reset_peak\n"
        "resident = lambda: psutil.Process().memory_info().rss\n"
        "first = bytearray(300 * 2**20)\n"
        "del first\n"
        "reset_peak()\n"
        "before = resident()\n"
        "second = bytearray(b'x') * (100 * 2**20)\n"
        "del second\n"
        "print(before, peak(), resident())\n"
        "assert peak_on_gpus() is None\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    before, most, now = map(int, answer.stdout.split())
    assert most - before == pytest.approx(100 * 2**20, rel=0.1)
    assert now - before < 20 * 2**20


def test_on_gpus_what_all_of_them_held_is_told_where_they_were_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    held = {0: 3 * 2**30, 1: 2**20}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: held[device])
    assert memory.peak_on_gpus() is None
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert memory.peak_on_gpus() == 3 * 2**30 + 2**20
