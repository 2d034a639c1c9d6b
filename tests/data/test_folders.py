"""Folders of images as people have them: layouts, what is passed over, what is refused."""

import os
from collections import Counter
from pathlib import Path

import pytest
from folders import draw, fill, members, named_labels, refused

from vertebra.core import VertebraError
from vertebra.data import (
    DecodeError,
    decode,
    find_broken,
    open_dataset,
)

# Layouts


def test_class_folders_are_divided_by_class(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"], 20)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert (len(dataset.train), len(dataset.split("val")), len(dataset.split("test"))) == (28, 6, 6)
    assert dataset.card.counts == {
        "train": {"cat": 14, "dog": 14},
        "val": {"cat": 3, "dog": 3},
        "test": {"cat": 3, "dog": 3},
    }
    every = [name for split in dataset.splits for name in members(split)]
    on_disk = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert sorted(every) == on_disk
    assert all(name.startswith(label + "/") for name, label in named_labels(dataset).items())


def test_uneven_classes_keep_their_shares(tmp_path: Path) -> None:
    sizes = {"a": 40, "b": 20, "c": 7, "d": 3}
    for name, count in sizes.items():
        fill(tmp_path, [name], count)
    counts = open_dataset(tmp_path).card.counts
    for name, count in sizes.items():
        assert abs(counts["val"][name] - 0.15 * count) <= 1
        assert abs(counts["test"][name] - 0.15 * count) <= 1
        assert counts["train"][name] >= 1
        assert sum(counts[split][name] for split in counts) == count


def test_split_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    for split, count in {"train": 9, "val": 4, "test": 2}.items():
        fill(tmp_path / split, ["cat", "dog"], count)
    dataset = open_dataset(tmp_path)
    for split, count in {"train": 9, "val": 4, "test": 2}.items():
        found = members(dataset.split(split))
        assert found == sorted(
            f"{split}/{c}/{i:02d}.png" for c in ("cat", "dog") for i in range(count)
        )
    assert dataset.notes == ()
    assert open_dataset(tmp_path, seed=5).card.fingerprint == dataset.card.fingerprint


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_train_and_val_only(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "train", ["cat", "dog"], 6)
    fill(tmp_path / name, ["cat", "dog"], 3)
    dataset = open_dataset(tmp_path)
    assert dataset.test is None
    assert [split.name for split in dataset.splits] == ["train", "val"]
    assert (len(dataset.train), len(dataset.split("val"))) == (12, 6)
    assert any("test" in note for note in dataset.notes)
    with pytest.raises(VertebraError, match=r"no split 'test'; it has train, val"):
        dataset.split("test")


def test_val_is_held_out_of_train_where_it_is_missing(tmp_path: Path) -> None:
    fill(tmp_path / "train", ["cat", "dog"], 20)
    fill(tmp_path / "test", ["cat", "dog"], 5)
    dataset = open_dataset(tmp_path)
    assert (len(dataset.train), len(dataset.split("val"))) == (34, 6)
    assert members(dataset.test) == sorted(
        str(path.relative_to(tmp_path)) for path in (tmp_path / "test").rglob("*.png")
    )
    assert all(name.startswith("train/") for name in members(dataset.val))
    assert any("val" in note for note in dataset.notes)


def test_a_val_folder_without_images_counts_as_missing(tmp_path: Path) -> None:
    fill(tmp_path / "train", ["cat", "dog"], 20)
    (tmp_path / "val" / "cat").mkdir(parents=True)
    dataset = open_dataset(tmp_path)
    assert len(dataset.split("val")) == 6
    assert all(name.startswith("train/") for name in members(dataset.val))


def test_subfolders_belong_to_their_class(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "cat/black/old", "cat/white", "dog/big"], 5)
    labels = named_labels(open_dataset(tmp_path))
    assert Counter(labels.values()) == {"cat": 15, "dog": 5}
    assert labels["cat/black/old/00.png"] == "cat"


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    fill(tmp_path, ["bus", "train"], 10)
    assert open_dataset(tmp_path).classes == ("bus", "train")


def test_links_to_folders_and_files_are_followed(tmp_path: Path) -> None:
    fill(tmp_path / "store", ["cats"], 10)
    fill(tmp_path / "set", ["dog"], 10)
    (tmp_path / "set" / "cat").symlink_to(tmp_path / "store" / "cats")
    (tmp_path / "set" / "dog" / "linked.png").symlink_to(tmp_path / "store" / "cats" / "00.png")
    labels = named_labels(open_dataset(tmp_path / "set"))
    assert Counter(labels.values()) == {"cat": 10, "dog": 11}


def test_a_link_to_a_folder_above_does_not_repeat_images(tmp_path: Path) -> None:
    # The same picture under two names could be trained on and tested on.
    fill(tmp_path, ["cat", "dog"], 10)
    (tmp_path / "cat" / "all").symlink_to(tmp_path / "cat")
    assert Counter(named_labels(open_dataset(tmp_path)).values()) == {"cat": 10, "dog": 10}


def test_every_extension_is_an_image_in_any_case(tmp_path: Path) -> None:
    fill(tmp_path, ["a", "b"], 10)
    for suffix in ("jpg", "JPEG", "PnG", "webp", "BMP", "gif", "TIF", "tiff"):
        draw(tmp_path / "a" / f"more.{suffix}")
    assert Counter(named_labels(open_dataset(tmp_path)).values()) == {"a": 18, "b": 10}


# What is passed over


def test_hidden_files_and_folders_are_ignored(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"])
    plain = open_dataset(tmp_path).card
    draw(tmp_path / ".trash" / "x.png")
    draw(tmp_path / "cat" / ".x.png")
    draw(tmp_path / "cat" / ".thumbnails" / "x.png")
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "notes.txt").write_text("a file beside the classes")
    assert open_dataset(tmp_path).card == plain


def test_other_files_are_counted_by_suffix(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"])
    for name in ("a.txt", "b.TXT", "c.mp4", "Makefile"):
        (tmp_path / "cat" / name).write_text("no image")
    dataset = open_dataset(tmp_path)
    (note,) = [note for note in dataset.notes if "no images" in note]
    assert "2 .txt" in note
    assert "1 .mp4" in note
    assert "1 no suffix" in note
    assert sum(map(len, dataset.splits)) == 20
    assert dataset.card.notes == dataset.notes


def test_opening_decodes_nothing_and_a_check_names_what_is_broken(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"], 20)
    (tmp_path / "cat" / "00.png").write_bytes(b"")
    (tmp_path / "cat" / "bad: name.jpg").write_bytes(b"text")
    content = (tmp_path / "dog" / "00.png").read_bytes()
    (tmp_path / "dog" / "00.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    dataset = open_dataset(tmp_path)
    assert dataset.skipped == dataset.card.skipped == ()
    assert sum(map(len, dataset.splits)) == 42
    seen: list[tuple[int, int]] = []
    found = find_broken(dataset.source, 3, lambda done, total: seen.append((done, total)))
    broken = ["cat/00.png", "cat/bad: name.jpg", "dog/00.png", "dog/gone.png"]
    assert [entry.id for entry in found] == broken
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {42}
    assert seen[-1] == (42, 42)
    for entry in found:
        path = tmp_path / entry.id
        with pytest.raises(DecodeError) as caught:
            decode(path)
        assert str(caught.value) == f"{path}: {entry.reason}"


def test_the_undecoded_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"])
    source = open_dataset(tmp_path).source
    for index, name in enumerate(source.ids):
        assert source.encoded(index) == (tmp_path / name).read_bytes()
    (tmp_path / source.ids[3]).unlink()
    assert source.encoded(3) is None


def test_a_version_changes_when_a_file_of_the_same_size_is_written_anew(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"])
    source = open_dataset(tmp_path).source
    path = tmp_path / source.ids[0]
    stamp, version = source.stamp(0), source.version(0)
    assert (source.stamp(0), source.version(0)) == (stamp, version)
    os.utime(path, ns=(1, 1))
    assert source.stamp(0) == stamp
    assert source.version(0) != version


# What is refused


def test_a_class_without_images(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"])
    (tmp_path / "eel").mkdir()
    (tmp_path / "eel" / "readme.txt").write_text("images will follow")
    assert "'eel'" in refused(tmp_path)


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "subfolder" in refused(tmp_path)


def test_images_without_class_folders(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    assert "subfolder" in refused(tmp_path)


def test_class_folders_without_any_image(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    assert "no images" in refused(tmp_path)


def test_an_empty_train_folder(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    fill(tmp_path / "val", ["cat", "dog"])
    assert "train" in refused(tmp_path)


def test_a_missing_path(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere") == f"no such file or folder: {tmp_path / 'nowhere'}"


def test_a_path_that_is_a_file(tmp_path: Path) -> None:
    assert "is a file" in refused(draw(tmp_path / "a.png"))


def test_one_class(tmp_path: Path) -> None:
    fill(tmp_path, ["cat"])
    message = refused(tmp_path)
    assert "one class" in message
    assert "'cat'" in message


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_that_training_does_not_know(tmp_path: Path, split: str) -> None:
    fill(tmp_path / "train", ["cat", "dog"])
    fill(tmp_path / "val", ["cat", "dog"])
    fill(tmp_path / split, ["eel"])
    message = refused(tmp_path)
    assert "'eel'" in message
    assert split in message


def test_too_few_images_for_a_validation(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"], 1)
    assert "too few" in refused(tmp_path)
