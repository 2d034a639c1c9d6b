"""Errors that help on."""

import runpy
from pathlib import Path

import pytest

from vertebra.core import VertebraError, nearest, place_of, unknown

KNOWN = ["resnet18", "resnet50", "lenet5", "plain20"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("resnet5O", "resnet50"),
        ("RESNET18", "resnet18"),
        ("lenet", "lenet5"),
        ("plan20", "plain20"),
    ],
)
def test_a_slip_is_recognised(word: str, meant: str) -> None:
    assert nearest(word, KNOWN) == meant
    assert str(unknown("model", word, KNOWN)) == f"unknown model '{word}'; did you mean {meant}?"


def test_something_else_gets_the_list_and_no_guess() -> None:
    assert nearest("vgg", KNOWN) is None
    message = str(unknown("model", "vgg", KNOWN))
    assert "did you mean" not in message
    assert all(name in message for name in KNOWN)


def test_a_long_list_is_cut() -> None:
    message = str(unknown("model", "?", [f"name{index:02}" for index in range(40)]))
    assert message.endswith("name11, ...")


def test_nothing_known_is_no_crash() -> None:
    assert nearest("x", []) is None
    assert "x" in str(unknown("model", "x", []))


def test_a_suggestion_keeps_the_spelling_of_the_known_name() -> None:
    assert nearest("imagenet", ["ImageNet"]) == "ImageNet"


def test_bad_input_exits_with_two_unless_said_otherwise() -> None:
    assert VertebraError("x").exit_code == 2
    assert VertebraError("x", exit_code=1).exit_code == 1


def test_the_place_of_an_error_is_in_the_users_own_code(tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text("import json\n\ndef read():\n    return json.loads('{')\n")
    scope = runpy.run_path(str(source))
    with pytest.raises(ValueError, match="Expecting") as caught:
        scope["read"]()
    # This test is own code too, but the line in the file is further in; json's own is not ours.
    assert place_of(caught.value) == "mine.py:4"
    assert place_of(ValueError("never raised")) == ""
