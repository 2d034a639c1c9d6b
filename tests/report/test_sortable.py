"""The places that a style sheet sorts by, against Python's own sorting."""

from hypothesis import given
from hypothesis import strategies as st

from vertebra.report import sortable

values = st.lists(st.one_of(st.none(), st.floats(-5, 5), st.integers(-5, 5)), max_size=8)


@given(values, st.booleans())
def test_rows_are_placed_as_sorted_places_them(numbers: list[float | None], down: bool) -> None:
    table = sortable(["n"], [[(str(n), n)] for n in numbers], descending=[0] if down else [])
    places = [int(place.removeprefix("--k0:")) for place in table.places]
    assert sorted(places) == list(range(len(numbers)))
    ordered = [n for _, n in sorted(zip(places, numbers, strict=True), key=lambda pair: pair[0])]
    known = [n for n in ordered if n is not None]
    assert ordered[len(known) :] == [None] * (len(numbers) - len(known))
    assert known == sorted(known, reverse=down)


def test_each_column_has_a_place_of_its_own() -> None:
    table = sortable(["a", "b"], [[("x", "x"), ("2", 2)], [("y", "y"), ("1", 1)]])
    assert table.places == ["--k0:0;--k1:1", "--k0:1;--k1:0"]
