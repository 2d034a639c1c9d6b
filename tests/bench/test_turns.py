"""How long a turn is, and which of its calls count."""

from __future__ import annotations

from typing import Any

import pytest

from vertebra.bench.plan import cells
from vertebra.bench.wire import Child
from vertebra.bench.workloads import Member, give_at_once, take_turns


class Recorded(Child):
    """In place of a process: writes down in which order it was asked for how many calls."""

    order = "time"

    def __init__(self, name: str, log: list[tuple[str, int, int]]) -> None:
        self._name, self._log = name, log

    def ask(self, order: str, timeout: float, **rest: Any) -> dict[str, Any]:
        assert order == self.order
        assert timeout > 600
        self._log.append((self._name, rest["calls"], rest["warm"]))
        return {"samples": [1.0] * rest["calls"]}


def members(*seconds: float) -> tuple[list[Member], list[tuple[str, int, int]]]:
    log: list[tuple[str, int, int]] = []
    (cell,) = cells(["resnet20"])
    some = [
        Member(cell, Recorded(name, log), {}, each)
        for name, each in zip("AB", seconds, strict=False)
    ]
    return some, log


def test_every_other_round_is_the_other_way_round() -> None:
    some, log = members(0.02, 0.02)
    take_turns(some, 64, 4)
    assert "".join(name for name, _, _ in log) == "ABBAABBA"
    assert [len(member.samples) for member in some] == [4 * 16, 4 * 16]


@pytest.mark.parametrize(
    ("seconds", "calls", "warm"),
    [
        (0.01, 20, 5),  # 0.2 s that count after 0.05 s that do not
        (0.04, 5, 2),
        (0.1, 4, 1),  # 64 calls in sixteen rounds
        (0.2, 4, 0),  # as long as a turn: nothing is gained by warming up
        (3.0, 4, 0),
        (0.0001, 64, 64),  # no more, however short
    ],
)
def test_a_turn_is_warmed_up(seconds: float, calls: int, warm: int) -> None:
    some, log = members(seconds)
    take_turns(some, 64, 16)
    assert set(log) == {("A", calls, warm)}


def test_what_is_given_at_once_takes_turns_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorded, "order", "time_all")
    some, log = members(0.01, 2.0)
    give_at_once(some, 64, 16)
    assert log[:4] == [("A", 100, 5), ("B", 4, 1), ("B", 4, 1), ("A", 100, 5)]
    assert len(log) == 32
