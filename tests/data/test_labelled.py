"""Other ways into a folder than to train on it."""

from pathlib import Path

import pytest
import torch
from folders import draw, fill, members

from vertebra.core import Preprocessing, VertebraError
from vertebra.data import (
    decode,
    evaluation_batches,
    image_files,
    open_dataset,
    open_labelled,
)

SMALL = Preprocessing(size=4, resize=4, mean=(0.5,) * 3, std=(0.25,) * 3)


def test_images_are_read_as_asked(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"])
    for channels in (1, 3, None):
        dataset = open_dataset(tmp_path, channels=channels)
        assert dataset.train.read(0).shape == (channels or 3, 6, 8)
        assert dataset.card.channels == (channels or 3)
    path = tmp_path / dataset.train.id(0)
    assert torch.equal(dataset.train.read(0), decode(path))


def test_to_evaluate_on_one_class_is_enough(tmp_path: Path) -> None:
    fill(tmp_path, ["cat"])
    (tmp_path / "dog").mkdir()
    (tmp_path / "cat" / "00.png").write_bytes(b"broken")
    opened = open_labelled(tmp_path)
    assert opened.split.source.classes == ("cat", "dog")
    assert opened.skipped == (), "nothing is decoded to find out"
    (batch,) = evaluation_batches(opened.split, SMALL, 64)
    assert batch.images.shape == (9, 3, 4, 4)
    assert batch.places.tolist() == list(range(1, 10))
    assert [entry.id for entry in batch.broken] == ["cat/00.png"]


def test_to_evaluate_takes_the_test_folder_or_what_is_asked_for(tmp_path: Path) -> None:
    for name, count in {"train": 9, "val": 4, "test": 2}.items():
        fill(tmp_path / name, ["cat", "dog"], count)
    dataset = open_dataset(tmp_path)
    assert members(open_labelled(tmp_path).split) == members(dataset.test)
    for name in ("train", "val", "test"):
        found = open_labelled(tmp_path, name).split
        assert found.name == name
        assert members(found) == members(dataset.split(name))


def test_to_evaluate_needs_no_train_folder(tmp_path: Path) -> None:
    for name, count in {"val": 4, "test": 2}.items():
        fill(tmp_path / name, ["cat", "dog"], count)
    (tmp_path / "val" / "cat" / "notes.txt").write_text("no image")
    assert len(open_labelled(tmp_path).split) == 4
    opened = open_labelled(tmp_path, "val")
    assert len(opened.split) == 8
    assert opened.notes == ("passed over files that are no images: 1 .txt",)


def test_to_evaluate_on_everything_says_that_train_is_in_it(tmp_path: Path) -> None:
    for name in ("train", "val"):
        fill(tmp_path / name, ["cat", "dog"], 4)
    opened = open_labelled(tmp_path)
    assert len(opened.split) == 16
    assert opened.notes == ("no test images: every image is judged, those to train on too",)


def test_to_evaluate_a_share_of_train_is_val_as_in_training(tmp_path: Path) -> None:
    for name, count in {"train": 20, "test": 2}.items():
        fill(tmp_path / name, ["cat", "dog"], count)
    dataset = open_dataset(tmp_path, seed=3)
    for name in ("train", "val"):
        assert members(open_labelled(tmp_path, name, 3).split) == members(dataset.split(name))


def test_to_evaluate_a_split_that_is_empty_is_an_error(tmp_path: Path) -> None:
    for name in ("val", "test"):
        fill(tmp_path / name, ["cat", "dog"], 4)
    with pytest.raises(VertebraError, match="train"):
        open_labelled(tmp_path, "train")


def test_image_files_are_found_at_any_depth_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.jpg", "a/deep/c.webp"):
        draw(tmp_path / name)
    (tmp_path / "a" / "no.txt").write_text("no image")
    draw(tmp_path / ".hidden" / "x.png")
    found = [str(path.relative_to(tmp_path)) for path in image_files(tmp_path)]
    assert found == ["a/deep/c.webp", "a/z.jpg", "b.png"]
    assert image_files(tmp_path / "b.png") == [tmp_path / "b.png"]
    assert image_files(tmp_path / "a" / "no.txt") == [tmp_path / "a" / "no.txt"]
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "empty", "no images"), (tmp_path / "gone", "no such file")):
        with pytest.raises(VertebraError, match=words):
            image_files(path)
