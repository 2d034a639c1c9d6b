"""Who is in which split: order, seeds and fingerprints."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folders import draw, fill, members, named_labels
from PIL import Image

from vertebra.core import VertebraError
from vertebra.data import (
    open_dataset,
)


def test_the_order_of_listing_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, ["cat", "dog", "cat/black", "eel"], 9)
    (tmp_path / "cat" / "03.png").write_bytes(b"broken")
    before = open_dataset(tmp_path)
    real = os.scandir

    class Reversed:
        """os.scandir, also as os.walk calls it, from the last entry to the first."""

        def __init__(self, path: Any) -> None:
            with real(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name)

        def __iter__(self) -> "Reversed":
            return self

        def __next__(self) -> os.DirEntry[str]:
            if not self.entries:
                raise StopIteration
            return self.entries.pop()

        def __enter__(self) -> "Reversed":
            return self

        def __exit__(self, *_: object) -> None:
            self.entries.clear()

    monkeypatch.setattr(os, "scandir", Reversed)
    assert next(os.walk(tmp_path))[1] == ["eel", "dog", "cat"]
    after = open_dataset(tmp_path)
    assert after.classes == before.classes
    for one, other in zip(before.splits, after.splits, strict=True):
        assert members(one) == members(other)
    assert after.card == before.card


def test_the_order_of_creation_and_the_place_do_not_matter(tmp_path: Path) -> None:
    names = [f"{label}/{number:02d}.png" for label in ("cat", "dog") for number in range(12)]
    for place, order in (("one", names), ("two", names[::-1])):
        for name in order:
            draw(tmp_path / place / name, int(name[4:6]))
    one, two = open_dataset(tmp_path / "one"), open_dataset(tmp_path / "two")
    assert one.card.fingerprint == two.card.fingerprint
    assert [members(split) for split in one.splits] == [members(split) for split in two.splits]


def test_a_relative_path_is_the_same_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "set", ["cat", "dog"])
    absolute = open_dataset(tmp_path / "set").card
    monkeypatch.chdir(tmp_path)
    assert open_dataset("set").card == absolute
    monkeypatch.chdir(tmp_path / "set")
    assert open_dataset("../set").card == absolute


def test_the_seed_deals_the_splits(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"], 30)
    one, same, other = (open_dataset(tmp_path, seed=seed) for seed in (0, 0, 1))
    assert [members(s) for s in one.splits] == [members(s) for s in same.splits]
    assert members(one.test) != members(other.test)
    assert one.card.fingerprint != other.card.fingerprint
    assert one.card.counts == other.card.counts


def test_a_new_image_leaves_the_others_where_they_are(tmp_path: Path) -> None:
    """Splits go by hash: one more image may push one over a quota but does not reshuffle."""
    fill(tmp_path, ["cat", "dog"], 60)
    before = open_dataset(tmp_path)
    draw(tmp_path / "cat" / "new.png")
    after = open_dataset(tmp_path)
    for name in ("val", "test"):
        moved = set(members(before.split(name))) - set(members(after.split(name)))
        assert len(moved) <= 2


CHANGES: dict[str, Callable[[Path], object]] = {
    "renamed": lambda root: (root / "cat/00.png").rename(root / "cat/zz.png"),
    "relabelled": lambda root: (root / "cat/00.png").rename(root / "dog/new.png"),
    "added": lambda root: draw(root / "cat/new.png"),
    "removed": lambda root: (root / "cat/00.png").unlink(),
    "resized": lambda root: Image.new("RGB", (80, 60)).save(root / "cat/00.png"),
    "grown by a byte": lambda root: (root / "cat/00.png").open("ab").write(b"\0"),
    "class renamed": lambda root: (root / "cat").rename(root / "cats"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_fingerprint_sees_a_change(tmp_path: Path, change: str) -> None:
    fill(tmp_path, ["cat", "dog"])
    before = open_dataset(tmp_path).card.fingerprint
    assert open_dataset(tmp_path).card.fingerprint == before
    CHANGES[change](tmp_path)
    assert open_dataset(tmp_path).card.fingerprint != before


def test_the_fingerprint_sees_a_move_between_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        fill(tmp_path / split, ["cat", "dog"])
    before = open_dataset(tmp_path).card.fingerprint
    (tmp_path / "train/cat/00.png").rename(tmp_path / "val/cat/99.png")
    assert open_dataset(tmp_path).card.fingerprint != before


ODD = ["a cat", "Ünïcode 猫", "[x]*?", "<b>bold</b>"[:3], "it's", 'quo"te', "-dash", "1e3", "null"]


def test_odd_class_names(tmp_path: Path) -> None:
    fill(tmp_path, ODD, 8)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == tuple(sorted(ODD))
    labels = named_labels(dataset)
    assert Counter(labels.values()) == dict.fromkeys(ODD, 8)
    assert all(name.split("/")[0] == label for name, label in labels.items())
    assert dataset.card.to_dict()["classes"] == sorted(ODD)


def test_a_class_name_that_is_no_unicode(tmp_path: Path) -> None:
    """File systems take any bytes; a card is JSON in UTF-8."""
    fill(tmp_path, ["cat", "dog"])
    (tmp_path / "cat").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    with contextlib.suppress(VertebraError):  # a refusal will do, a traceback will not
        assert Counter(named_labels(open_dataset(tmp_path)).values())["dog"] == 10
