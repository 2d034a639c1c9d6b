"""Tables of images, against the same images in folders and against pyarrow and csv."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from folders import draw, fill, members, named_labels, refused
from pyarrow import parquet

from vertebra.core import Preprocessing
from vertebra.data import decode, evaluation_batches, open_dataset, open_labelled

SMALL = Preprocessing(size=4, resize=4, mean=(0.5,) * 3, std=(0.25,) * 3)
Rows = Sequence[Sequence[Any]]
KINDS = ["csv", "tsv", "parquet"]


def write(path: Path, header: Sequence[str], rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        columns = [[row[at] for row in rows] for at in range(len(header))]
        table = pyarrow.table(dict(zip(header, columns, strict=True)))
        parquet.write_table(table, path, row_group_size=7)
        return path
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerows([header, *rows])
    return path


def animals(root: Path, count: int = 20) -> list[tuple[str, str]]:
    """Image files in one folder, (path, label) of each."""
    rows = []
    for label in ("cat", "dog"):
        for number in range(count):
            name = f"images/{label} ü{number:02d}.png"
            draw(root / name, number)
            rows.append((name, label))
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_lists_images_with_their_labels(tmp_path: Path, kind: str) -> None:
    rows = animals(tmp_path)
    np.random.default_rng(0).shuffle(rows)
    dataset = open_dataset(write(tmp_path / f"list.{kind}", ("path", "label"), rows))
    assert dataset.classes == ("cat", "dog")
    assert named_labels(dataset) == dict(rows)
    assert list(dataset.source.ids) == sorted(name for name, _ in rows)
    assert [len(split) for split in dataset.splits] == [28, 6, 6]
    name = dataset.train.id(3)
    assert torch.equal(dataset.train.read(3), decode(tmp_path / name))
    assert dataset.source.encoded(0) == (tmp_path / dataset.source.ids[0]).read_bytes()


def test_every_kind_of_table_is_the_same_dataset(tmp_path: Path) -> None:
    rows = animals(tmp_path)
    cards = [
        open_dataset(write(tmp_path / f"list.{kind}", ("path", "label"), order)).card
        for kind, order in zip(KINDS, (rows, rows[::-1], rows), strict=True)
    ]
    assert len({card.fingerprint for card in cards}) == 1
    assert len({str(card.counts) for card in cards}) == 1


def test_a_table_of_a_folder_is_divided_as_the_folder(tmp_path: Path) -> None:
    fill(tmp_path / "set", ["cat", "dog"], 30)
    folder = open_dataset(tmp_path / "set", seed=4)
    rows = [(name, name.split("/")[0]) for name in folder.source.ids]
    listed = open_dataset(write(tmp_path / "set" / "list.csv", ("path", "label"), rows), seed=4)
    assert [members(one) for one in listed.splits] == [members(one) for one in folder.splits]
    assert listed.card.fingerprint == folder.card.fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_splits_and_groups_of_the_table_are_used(tmp_path: Path, kind: str) -> None:
    words = {"train": "Train", "val": "validation", "test": "test"}
    rows = [
        (f"{split}/{label}{number}.png", label, words[split], f"{split} {number % 3}")
        for split in words
        for label in ("a", "b")
        for number in range(6)
    ]
    path = write(tmp_path / f"list.{kind}", ("path", "label", "split", "group"), rows)
    dataset = open_dataset(path)
    for split in dataset.splits:
        assert members(split) == sorted(row[0] for row in rows if row[0].startswith(split.name))
    assert dataset.card.groups == 9
    groups = dataset.source.groups
    assert groups is not None
    together = {row[0]: row[3] for row in rows}
    for one, name in zip(groups.tolist(), dataset.source.ids, strict=True):
        same = {
            together[other]
            for other, number in zip(dataset.source.ids, groups, strict=True)
            if number == one
        }
        assert same == {together[name]}


def test_groups_stay_together_when_the_table_has_no_splits(tmp_path: Path) -> None:
    rows = [(f"{n:03d}.png", "ab"[n // 3 % 2], f"patient {n // 5}") for n in range(300)]
    dataset = open_dataset(write(tmp_path / "list.csv", ("path", "label", "group"), rows))
    home: dict[str, str] = {}
    of = {row[0]: row[2] for row in rows}
    for split in dataset.splits:
        for name in members(split):
            assert home.setdefault(of[name], split.name) == split.name
    assert [
        abs(len(s) / 300 - share) < 0.03
        for s, share in zip(dataset.splits, (0.7, 0.15, 0.15), strict=True)
    ] == [True] * 3


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_integers_are_numbered_as_numbers_and_names_as_strings(tmp_path: Path, kind: str) -> None:
    def classes(labels: Sequence[Any]) -> tuple[str, ...]:
        rows = [(f"{n}.png", label) for n, label in enumerate(list(labels) * 10)]
        path = write(tmp_path / f"list.{kind}", ("path", "label"), rows)
        dataset = open_dataset(path)
        assert all(named_labels(dataset)[name] == str(label) for name, label in rows)
        return dataset.classes

    assert classes([10, 9, -1, 100]) == ("-1", "9", "10", "100")
    assert classes(["10", "9", "x"]) == ("10", "9", "x")


def test_missing_files_are_met_when_they_are_read(tmp_path: Path) -> None:
    rows = animals(tmp_path)
    (tmp_path / rows[0][0]).unlink()
    path = write(tmp_path / "list.csv", ("path", "label"), rows)
    assert sum(map(len, open_dataset(path).splits)) == 40
    (batch,) = evaluation_batches(open_labelled(path).split, SMALL, 64)
    assert [(entry.id, entry.reason) for entry in batch.broken] == [(rows[0][0], "no such file")]
    assert len(batch.images) == len(batch.labels) == 39


def test_paths_are_written_in_one_way(tmp_path: Path) -> None:
    rows = animals(tmp_path)
    written = [
        ((f"./images/../{n}", str(tmp_path / n))[i % 2], label) for i, (n, label) in enumerate(rows)
    ]
    outside = str(draw(tmp_path.parent / f"{tmp_path.name} elsewhere" / "x.png"))
    path = write(tmp_path / "list.csv", ("path", "label"), [*written, (outside, "dog")])
    source = open_dataset(path).source
    assert list(source.ids) == sorted([outside, *(name for name, _ in rows)])
    assert source.read(list(source.ids).index(outside), 3).shape == (3, 6, 8)


def test_a_path_listed_again_with_the_same_words_counts_once(tmp_path: Path) -> None:
    rows = animals(tmp_path)
    path = write(tmp_path / "list.csv", ("path", "label"), [*rows, rows[3], rows[3], rows[5]])
    dataset = open_dataset(path)
    assert sum(map(len, dataset.splits)) == 40
    assert named_labels(dataset) == dict(rows)
    assert dataset.notes == ("3 rows list a path again and count once",)


def test_what_spreadsheets_do_to_a_table_is_read(tmp_path: Path) -> None:
    rows = animals(tmp_path, 10)
    path = tmp_path / "list.CSV"
    lines = ["Label , PATH", *(f'{label}, "{name}"' for name, label in rows[:1])]
    lines = ["﻿Label ,extra, PATH", "", *(f"{label},7,{name}" for name, label in rows), ""]
    path.write_bytes("\r\n".join(lines).encode())
    assert named_labels(open_dataset(path)) == dict(rows)


HEAD = ("path", "label", "split", "group")
GOOD = [(f"{n}.png", "ab"[n % 2], "train" if n < 6 else "val", f"g{n // 6}") for n in range(12)]


def changed(row: int, column: int, value: Any) -> Rows:
    rows = [list(one) for one in GOOD]
    rows[row][column] = value
    return rows


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (changed(3, 1, ""), ["row {4}", "has no label"]),
        (changed(3, 0, " "), ["row {4}", "has no path"]),
        (changed(3, 3, ""), ["row {4}", "has no group"]),
        (changed(3, 2, ""), ["row {4}", "has no split; others have one"]),
        (changed(3, 2, "trian"), ["row {4}", "unknown split 'trian'; did you mean train?"]),
        (changed(3, 3, "g1"), ["group 'g1'", "in train and in val"]),
        ([*GOOD, ("0.png", "b", "train", "g0")], ["lists 0.png twice, with the labels a and b"]),
        (
            [*GOOD, ("0.png", "a", "val", "g0")],
            ["lists 0.png twice, with the splits train and val"],
        ),
        ([*GOOD, ("0.png", "a", "train", "gx")], ["lists 0.png twice, with the groups g0 and gx"]),
        ([], ["has no rows"]),
        ([row for row in GOOD if row[1] == "a"], ["only one class, 'a'"]),
        ([*GOOD, ("x.png", "c", "val", "g1")], ["class 'c'", "no images to train on"]),
    ],
)
def test_what_is_wrong_with_a_row_is_said(
    tmp_path: Path, kind: str, rows: Rows, words: list[str]
) -> None:
    # The header of a text file is its first row.
    row = {"csv": "5", "parquet": "4"}[kind]
    message = refused(write(tmp_path / f"list.{kind}", HEAD, rows))
    for word in words:
        assert word.replace("{4}", row) in message
    assert str(tmp_path) in message


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_is_missing_is_named(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"list.{kind}", ("path", "lable"), [("a.png", "x")])
    assert refused(path) == f"{path} has no column 'label'; did you mean lable?"
    path = write(tmp_path / f"list.{kind}", ("x", "y"), [("a.png", "x")])
    assert refused(path) == f"{path} has no column 'path'; it has x, y"


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "short": (lambda path: path.write_text("path,label\na.png,x\nb.png\n"), "row 3"),
    "latin": (lambda path: path.write_bytes("path,label\nä,x\n".encode("latin1")), "UTF-8"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_table_that_cannot_be_read(tmp_path: Path, damage: str) -> None:
    damaging, words = DAMAGED[damage]
    damaging(tmp_path / "list.csv")
    assert words in refused(tmp_path / "list.csv")


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"path,label\n")
    assert "is no Parquet file" in refused(tmp_path / "list.parquet")
