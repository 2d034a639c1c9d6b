"""Durations: what they may be, how many steps they are, and that they are read back."""

import pytest

from vertebra.runs import Duration


@pytest.mark.parametrize(
    ("text", "unit", "steps"),
    [("10ep", "ep", 330), (10, "ep", 330), ("0.5ep", "ep", 16), ("500ba", "ba", 500), (0, "ep", 0)],
)
def test_durations_have_units(text: object, unit: str, steps: int) -> None:
    duration = Duration.of(text)
    assert (duration.unit, duration.steps(33)) == (unit, steps)
    assert Duration.of(str(duration)) == duration


@pytest.mark.parametrize("text", ["ten", "5 epochs", "-1ep", "1.5ba", "", None, True, "ep", [3]])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|batches"):
        Duration.of(text)


def test_durations_in_batches_stay_whole() -> None:
    assert str(Duration.of("7ba").scaled(0.5)) == "4ba"
    assert str(Duration.of("7ep").scaled(0.5)) == "3.5ep"
