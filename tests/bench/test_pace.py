"""Turns are taken while the machine is at its pace, and what was not is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

import made_up
from vertebra.bench.pace import Pace, paced, told_by


@dataclass
class Clock:
    """Time that passes only when somebody waits or works."""

    now: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    fake = SimpleNamespace(monotonic=lambda: clock.now, sleep=clock.sleep)
    monkeypatch.setattr("vertebra.bench.pace.time", fake)
    return clock


def turns(pace: Pace, clock: Clock, count: int) -> Iterator[float]:
    """When each of so many turns that count was begun, a second each."""
    for _ in range(count):
        while True:
            pace.wait()
            begun = clock.now
            clock.sleep(1.0)
            if pace.held(begun):
                yield begun
                break


def slow_between(clock: Clock, *spells: tuple[float, float]) -> Callable[[], float]:
    return lambda: 1.5 if any(a <= clock.now < b for a, b in spells) else 1.0


def test_a_turn_in_a_slow_spell_is_taken_again_after_it(clock: Clock) -> None:
    pace = Pace(slow_between(clock, (2.5, 10.0)))
    pace.begin()
    begun = list(turns(pace, clock, 5))
    assert begun[:2] == [0.0, 1.0]  # the third one, from 2.0 on, ended in the spell
    assert begun[2] == pytest.approx(10.0, abs=0.2)
    assert begun[4] == pytest.approx(12.0, abs=0.2)
    assert pace.warnings == ()
    assert pace.seconds == 1.0


def test_patience_has_an_end_and_then_it_is_told(clock: Clock) -> None:
    pace = Pace(slow_between(clock, (2.5, 1e9)))
    pace.begin()
    begun = list(turns(pace, clock, 10))
    assert 85 < begun[2] < 100
    assert begun[9] == pytest.approx(begun[2] + 7)
    assert pace.warnings == ("the machine was below its pace in 80 % of the turns",)
    assert pace.seconds == 1.5


def test_a_bench_waits_no_longer_than_it_works_and_a_little_more(clock: Clock) -> None:
    """Spells as long as fast moments, each too short to count: nobody would wait for ever."""
    told: list[str] = []
    pace = Pace(lambda: 1.0 if clock.now % 3 < 0.5 else 1.5, tell=told.append)
    worked = 0
    for _ in range(20):
        pace.begin()
        worked += len(list(turns(pace, clock, 10)))
    assert worked == 200
    assert clock.now < 2 * worked + 90 + 20
    assert told[0].endswith("for 85 s more at most")
    assert len(told) <= 20


def test_what_was_measured_before_the_first_fast_moment_was_slow(clock: Clock) -> None:
    """The fastest pace was not known then."""
    pace = Pace(slow_between(clock, (0.0, 3.5)))
    pace.begin()
    assert len(list(turns(pace, clock, 5))) == 5
    assert pace.warnings == ("the machine was below its pace in 60 % of the turns",)
    pace.begin()
    assert len(list(turns(pace, clock, 5))) == 5
    assert pace.warnings == ()


def test_a_pace_that_stays_is_the_machine_s(clock: Clock) -> None:
    """A laptop that is warm would else be waited for with each group."""
    pace = Pace(slow_between(clock, (2.5, 1e9)))
    warned = []
    for _ in range(8):
        pace.begin()
        began = clock.now
        assert len(list(turns(pace, clock, 10))) == 10
        warned.append((bool(pace.warnings), clock.now - began < 20))
    assert warned[0] == (True, False)
    assert warned[-1] == (False, True)
    assert pace.fastest == 1.5


def test_where_nothing_tells_the_pace_every_turn_counts(clock: Clock) -> None:
    pace = Pace()
    assert list(turns(pace, clock, 3)) == [0.0, 1.0, 2.0]
    assert pace.seconds is None
    assert pace.warnings == ()


def test_a_process_tells_it_and_the_store_knows_the_fastest() -> None:
    untold = made_up.measurement("resnet18")
    paces = ({"seconds": 2e-9, "by": told_by(1)}, {"seconds": 1e-9, "by": "another"})
    some = [untold, *(replace(untold, extra={"pace": pace}) for pace in paces)]
    with paced(1, some) as pace:
        assert pace.fastest == 2e-9
        assert 1e-5 < pace.ask() < 10
        assert len(pace.pids) == 1
