"""Data of which some class cannot be read at all is refused at the start, other data is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vertebra.core import VertebraError
from vertebra.data import check_readable, open_dataset
from vertebra.data.dataset import Split


def test_a_class_of_which_nothing_can_be_read(make_folder: Callable[..., Path]) -> None:
    root = make_folder(each=40)
    check_readable(open_dataset(root).train)
    for path in (root / "light").glob("*.jpg"):
        path.write_bytes(b"junk")
    with pytest.raises(VertebraError, match=r"class 'light'.*20 of 28 tried.*light/\d+.jpg: not"):
        check_readable(open_dataset(root).train)


def test_one_good_image_of_few_is_found(make_folder: Callable[..., Path]) -> None:
    root = make_folder(each=20)
    split = open_dataset(root).train
    for place in range(1, len(split)):  # the first is of class 0 and stays
        if split.labels[place] == 0:
            (root / split.id(place)).write_bytes(b"junk")
    left = open_dataset(root, cache="none").train
    check_readable(left)
    assert (root / left.id(0)).read_bytes() != b"junk", "there was one"
    (root / left.id(0)).write_bytes(b"junk")
    with pytest.raises(VertebraError, match="class 'dark'"):
        check_readable(open_dataset(root, cache="none").train)


def test_a_start_reads_one_image_a_class(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    plain = Split.read

    def counted(split: Split, place: int) -> object:
        read.append(place)
        return plain(split, place)

    monkeypatch.setattr(Split, "read", counted)
    check_readable(open_dataset(make_folder(classes=("a", "b", "c"), each=30)).train)
    assert len(read) == 3
