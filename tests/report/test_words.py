"""Numbers in words, by the examples of people who read them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra.report import count, percent, shape, si
from vertebra.report.words import size

THIN = "\N{NARROW NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, f"1{THIN}000"),
        (25557032, f"25{THIN}557{THIN}032"),
        (-1234, f"-1{THIN}234"),
    ],
)
def test_count(number: int, text: str) -> None:
    assert count(number) == text


@given(st.integers(-(10**15), 10**15))
def test_a_count_loses_no_digit(number: int) -> None:
    assert int(count(number).replace(THIN, "")) == number
    assert re.fullmatch(r"-?\d{1,3}(.\d{3})*", count(number))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1 k"),
        (1234, "1.234 k"),
        (25557032, "25.56 M"),
        (4.089e9, "4.089 G"),
        (3e12, "3 T"),
        (-25557032, "-25.56 M"),
        (999_999, "1 M"),
        (999_999_999, "1 G"),
        (999.96, "1 k"),
    ],
)
def test_si(number: float, text: str) -> None:
    assert si(number) == text


PREFIX = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


@given(st.floats(1, 9e14))
def test_si_is_right_to_four_digits_and_short(number: float) -> None:
    digits, _, prefix = si(number).partition(" ")
    assert float(digits) * PREFIX[prefix] == pytest.approx(number, rel=5.1e-4)
    assert 1 <= float(digits) < 1000
    assert len(digits.replace(".", "")) <= 4


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.9917, 2, "99.17 %"),
        (1.0, 2, "100.00 %"),
        (0.0, 1, "0.0 %"),
        (0.5, 0, "50 %"),
        (None, 2, "-"),
    ],
)
def test_percent(share: float | None, digits: int, text: str) -> None:
    assert percent(share, digits) == text


def test_shape() -> None:
    assert shape((1, 64, 56, 56)) == "64 x 56 x 56"
    assert shape((8, 1000)) == "1000"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (102_228_128, "97.5 MiB"),
        (2**30 - 1, "1.0 GiB"),
        (5 * 2**40, "5.0 TiB"),
    ],
)
def test_size(number: int, text: str) -> None:
    assert size(number) == text
