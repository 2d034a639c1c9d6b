"""What is named before any network."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra.choice.gate import FEW_IMAGES, HANDFUL, MOST_ROWS, gate
from vertebra.choice.requirement import WORDS, Requirement


def _of(**asked: object) -> tuple[str, bool] | None:
    found = gate(Requirement(**asked))
    return None if found is None else (found.kind, found.stop)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("table", "gradient boosting"),
        ("text", "transformer"),
        ("audio", "transformer"),
        ("sequence", "recurrent"),
        ("graph", "graph network"),
        ("video", "out of scope"),
    ],
)
def test_other_data_belongs_to_other_tools(kind: str, word: str) -> None:
    found = gate(Requirement(kind=kind, images=20_000))
    assert found is not None
    assert word in found.kind
    assert found.stop
    assert found.instead


def test_images_in_number_have_no_gate() -> None:
    assert gate(Requirement(images=20_000)) is None
    assert gate(Requirement()) is None
    assert gate(Requirement(images=FEW_IMAGES, pretrained=False)) is None


def test_a_large_table_may_pay_for_a_network_and_not_for_a_backbone() -> None:
    small, large = (gate(Requirement(kind="table", images=n)) for n in (MOST_ROWS, MOST_ROWS + 1))
    assert small is not None
    assert large is not None
    assert small.rule != large.rule
    assert "not for a vision backbone" in large.says
    assert large.stop


def test_few_images_are_a_matter_of_weights() -> None:
    assert _of(images=8_000) is None
    few = _of(images=8_000, pretrained=False)
    assert few == ("classical baseline first", False)
    handful = _of(images=HANDFUL - 1)
    assert handful is not None
    assert "classical" in handful[0]
    assert not handful[1]


def test_few_texts_are_told_apart_from_many() -> None:
    few = _of(kind="text", images=500, pretrained=False)
    assert few is not None
    assert "classical" in few[0]
    assert _of(kind="text", images=500) == ("transformer", True)


def test_a_baseline_is_enough_only_where_it_reaches_the_target() -> None:
    found = _of(images=20_000, min_accuracy=0.9, baseline_accuracy=0.9)
    assert found == ("the baseline is enough", True)
    assert _of(images=20_000, min_accuracy=0.9, baseline_accuracy=0.89) is None
    assert _of(images=20_000, baseline_accuracy=0.99) is None


def test_explained_answers_come_before_few_images() -> None:
    found = _of(images=300, interpretable=True, pretrained=False)
    assert found is not None
    assert "exact attributions" in found[0]


@given(
    st.sampled_from(WORDS["kind"]),
    st.none() | st.integers(1, 10**8),
    st.booleans(),
    st.booleans(),
)
def test_every_gate_says_why_by_whom_and_what_is_doubtful(
    kind: str, images: int | None, pretrained: bool, interpretable: bool
) -> None:
    asked = Requirement(
        kind=kind, images=images, pretrained=pretrained, interpretable=interpretable
    )
    found = gate(asked)
    assert kind == "images" or (found is not None and found.stop)
    if found is not None:
        assert all((found.says, found.instead, found.source, found.doubt))
        assert found.rule.startswith("gate.")
        json.dumps(found.to_dict())


@given(st.integers(2, 10**7), st.booleans())
def test_more_images_never_close_a_gate(images: int, pretrained: bool) -> None:
    if gate(Requirement(images=images, pretrained=pretrained)) is None:
        assert gate(Requirement(images=images + 1, pretrained=pretrained)) is None
