"""The noise floor: how many rounds it takes, and when there is no use."""

from __future__ import annotations

import pytest

from vertebra.bench.measuring import Floor
from vertebra.bench.statistics import Ratio
from vertebra.bench.workloads import MORE_ROUNDS, ROUNDS


class Noisy:
    """A group whose twins differ by as much as is told for each number of rounds."""

    def __init__(self, noise: dict[int, float]) -> None:
        self.rounds = ROUNDS
        self.asked: list[int] = []
        self._noise = noise

    def twin_ratio(self) -> Ratio:
        self.asked.append(self.rounds)
        return Ratio(1.0, 0.999, 1 + self._noise[self.rounds])


@pytest.mark.parametrize(
    ("few", "many", "asked"),
    [
        (0.03, 0.01, [ROUNDS]),
        (0.09, 0.04, [ROUNDS, MORE_ROUNDS]),
        (0.30, 0.20, [ROUNDS, MORE_ROUNDS, MORE_ROUNDS]),
    ],
)
def test_a_noisy_machine_is_asked_in_more_rounds(few: float, many: float, asked: list[int]) -> None:
    group = Noisy({ROUNDS: few, MORE_ROUNDS: many})
    floor = Floor(lambda _text: None)
    found = floor.of(group)
    assert group.asked == asked
    assert found == pytest.approx(few if asked == [ROUNDS] else many)


def test_a_floor_that_holds_has_the_next_group_take_as_many_rounds() -> None:
    floor = Floor(lambda _text: None)
    first, next_one = (Noisy({ROUNDS: 0.09, MORE_ROUNDS: 0.04}) for _ in range(2))
    floor.of(first)
    assert floor.of(next_one) == pytest.approx(0.04)
    assert next_one.rounds == MORE_ROUNDS
    assert next_one.asked == []
    floor.forget()
    floor.of(next_one)
    assert next_one.asked[0] == ROUNDS
