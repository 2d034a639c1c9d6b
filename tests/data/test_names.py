"""Packed names against lists of strings."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra.data.sources.codes import Codes, sorted_classes
from vertebra.data.sources.names import NameBuilder, PackedNames

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))


@given(NAMES)
def test_names_are_those_that_went_in(names: list[str]) -> None:
    packed = PackedNames.of(names)
    assert len(packed) == len(names)
    assert list(packed) == names
    assert [packed[place] for place in range(len(names))] == names
    assert [packed[place] for place in range(-len(names), 0)] == names
    assert list(packed[1:-1]) == names[1:-1]
    assert list(packed[::-2]) == names[::-2]
    assert list(pickle.loads(pickle.dumps(packed))) == names
    assert packed == PackedNames.of(names)
    assert packed != PackedNames.of([*names, ""])


@given(NAMES)
def test_the_order_is_pythons(names: list[str]) -> None:
    packed = PackedNames.of(names)
    order = packed.order()
    assert order.tolist() == sorted(range(len(names)), key=names.__getitem__)
    assert list(packed.take(order)) == sorted(names)


PATHS = st.lists(st.text("ab/-_.\x01é猫", max_size=30), min_size=1, max_size=40)


@given(PATHS, st.text("ab/", max_size=20))
def test_long_common_starts_and_repeats(names: list[str], start: str) -> None:
    names = sorted(start + name for name in names)
    packed = PackedNames.of(names)
    assert packed.order().tolist() == list(range(len(names)))
    expected = [place > 0 and names[place - 1] == name for place, name in enumerate(names)]
    assert packed.repeats().tolist() == expected


def test_many_names_in_blocks() -> None:
    names = [f"{number % 977:03d}/{'x' * (number % 13)}{number}" for number in range(140_000)]
    packed = PackedNames.of(names)
    assert list(packed) == names
    order = packed.order()
    assert list(packed.take(order)) == sorted(names)


def test_a_builder_takes_names_with_what_stands_before_them() -> None:
    builder = NameBuilder()
    builder.add(["x", "y"], "ü/")
    with pytest.raises(UnicodeEncodeError):
        builder.add(["good", "bad\udce9"])
    builder.add([])
    builder.add(["z"])
    assert list(builder.finish()) == ["ü/x", "ü/y", "z"]


def test_a_place_that_is_not_there() -> None:
    packed = PackedNames.of("abc")
    for place in (3, -4):
        with pytest.raises(IndexError):
            packed[place]


@given(st.lists(st.sampled_from(["b", "a", "10", "9"]), min_size=1))
def test_codes_are_numbers_of_words(words: list[str]) -> None:
    codes = Codes()
    codes.add(words[:2])
    codes.add(words[2:])
    assert [codes.words[number] for number in codes.numbers()] == words
    classes = sorted_classes(codes.words)
    assert [classes[label] for label in codes.labels(classes)] == words
    assert codes.labels(classes).dtype == np.int64
