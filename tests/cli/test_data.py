"""``vertebra data`` as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command import run
from PIL import Image

from html_reader import Reader


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pictures(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished / "images", tmp_path / "pictures"))


def test_digits() -> None:
    code, out, err = run("data", "digits")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[-1] == "cards/digits.json"
    assert "nothing to act on" in lines
    assert "  images                    1\u202f797" in lines
    card = json.loads(Path("cards/digits.json").read_text())
    assert card["schema"] == "vertebra.data/1"
    assert card["findings"] == []
    assert sum(card["counts"]["train"].values()) == 1077
    assert "looking at 1797 of 1797 images" in err


def test_json_is_one_document_and_writes_no_card() -> None:
    code, out, err = run("data", "digits", "--json", "--quiet", "--sample", "50", "--seed", "3")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["schema"] == "vertebra.data/1"
    assert document["looked_at"] == 50
    assert document["facts"]["images"] == 50
    assert not Path("cards").exists()


def test_a_fault_is_exit_code_1(pictures: Path) -> None:
    (pictures / "dark" / "0.png").write_bytes(b"no picture")
    code, out, _ = run("data", str(pictures), "--out", "card.json", "--html", "page.html")
    assert code == 1
    assert "D004 fault: 1 file cannot be decoded: not an image (1); the first is dark/0.png" in out
    assert out.splitlines()[-2:] == ["card.json", "page.html"]
    card = json.loads(Path("card.json").read_text())
    assert card["skipped"] == [{"id": "dark/0.png", "reason": "not an image"}]
    assert "D004 fault" in Reader(Path("page.html").read_text()).text


def test_channels(pictures: Path) -> None:
    _, out, _ = run("data", str(pictures), "--channels", "1", "--json")
    document = json.loads(out)
    assert document["channels"] == 1
    assert len(document["facts"]["mean"]) == 1


def test_a_card_of_other_data_is_kept(pictures: Path, tmp_path: Path) -> None:
    other = shutil.copytree(pictures, tmp_path / "other" / "pictures")
    Image.new("RGB", (30, 30)).save(other / "dark" / "new.png")
    paths = [run("data", str(place))[1].splitlines()[-1] for place in (pictures, other, pictures)]
    assert paths == ["cards/pictures.json", "cards/pictures-2.json", "cards/pictures.json"]


def test_labels_of_a_run(finished: Path) -> None:
    images = str(finished / "images")
    code, out, err = run("data", images, "--run", str(finished / "run"), "--json")
    assert code in (0, 1), err
    document = json.loads(out)
    held = sum(sum(document["counts"][split].values()) for split in ("val", "test"))
    assert document["suspects"]["images"] == held
    assert document["suspects"]["run"] == str(finished / "run")
    # The run takes them at 16 pixels, as they are; without it 224 is assumed.
    codes = {finding["code"] for finding in document["findings"]}
    assert "D006" not in codes
    _, plain, _ = run("data", images, "--json")
    assert "D006" in {finding["code"] for finding in json.loads(plain)["findings"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "no such file or folder: nowhere"),
        (("digits", "--channels", "2"), "--channels takes 1 (grey) or 3 (RGB), got 2"),
        (("digits", "--sample", "0"), "'--sample'"),
        (("digits", "--html", "a/b.html"), "there is no folder a to write b.html into"),
        (("digits", "--out", "."), "--out takes a file, and . is a folder"),
        (("digits", "--run", "none"), "no run folder none"),
    ],
)
def test_errors_are_one_line(arguments: tuple[str, ...], words: str) -> None:
    code, out, err = run("data", "--quiet", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert words in err
    assert len(err.splitlines()) == 1
    assert not Path("cards").exists()


def test_run_of_other_data(finished: Path) -> None:
    code, _, err = run("data", "digits", "--quiet", "--run", str(finished / "run"))
    assert code == 2
    assert "was trained on" in err
    assert len(err.splitlines()) == 1
