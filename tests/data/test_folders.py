"""Folders of images as people have them, and the digits against scikit-learn."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedShuffleSplit
from torch.nn import functional as F

from vertebra.core import VertebraError
from vertebra.data import (
    DecodeError,
    ImageDataset,
    Split,
    decode,
    image_files,
    open_dataset,
    open_labelled,
)


def draw(path: Path, shade: int = 0) -> Path:
    """A small image file, its folders too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (shade % 256, 100, 50)).save(path)
    return path


def fill(root: Path, names: Iterable[str], count: int = 10) -> Path:
    for name in names:
        for number in range(count):
            draw(root / name / f"{number:02d}.png", number)
    return root


def members(split: Split | None) -> list[str]:
    assert split is not None
    return [split.id(place) for place in range(len(split))]


def named_labels(dataset: ImageDataset) -> dict[str, str]:
    """Class by id, over all splits."""
    return {
        split.id(place): dataset.classes[label]
        for split in dataset.splits
        for place, label in enumerate(split.labels.tolist())
    }


def refused(path: Path, **options: Any) -> str:
    """The one line with which a folder is refused."""
    with pytest.raises(VertebraError) as caught:
        open_dataset(path, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert caught.value.exit_code == 2
    return message


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


def test_broken_images_are_skipped_and_named(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"], 20)
    whole = open_dataset(tmp_path)
    (tmp_path / "cat" / "00.png").write_bytes(b"")
    (tmp_path / "cat" / "bad: name.jpg").write_bytes(b"text")
    content = (tmp_path / "dog" / "00.png").read_bytes()
    (tmp_path / "dog" / "00.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    seen: list[tuple[int, int]] = []
    dataset = open_dataset(tmp_path, progress=lambda done, total: seen.append((done, total)))
    broken = ["cat/00.png", "cat/bad: name.jpg", "dog/00.png", "dog/gone.png"]
    assert [entry.id for entry in dataset.skipped] == broken
    assert dataset.card.skipped == dataset.skipped
    assert not set(broken) & set(named_labels(dataset))
    assert sum(map(len, dataset.splits)) == 38
    assert Counter(named_labels(dataset).values()) == {"cat": 19, "dog": 19}
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {42}
    assert seen[-1] == (42, 42)
    assert dataset.card.fingerprint != whole.card.fingerprint


def test_the_reasons_on_the_card_are_the_decoders(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"])
    (tmp_path / "cat" / "a.jpg").write_bytes(b"")
    (tmp_path / "cat" / "b.tif").symlink_to(tmp_path / "nowhere")
    content = (tmp_path / "dog" / "00.png").read_bytes()
    (tmp_path / "dog" / "c.png").write_bytes(content[: len(content) // 2])
    skipped = open_dataset(tmp_path).skipped
    assert len(skipped) == 3
    for entry in skipped:
        path = tmp_path / entry.id
        with pytest.raises(DecodeError) as caught:
            decode(path)
        assert str(caught.value) == f"{path}: {entry.reason}"


def test_known_broken_images_are_left_out_unread(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"], 20)
    (tmp_path / "cat" / "00.png").write_bytes(b"")
    first = open_dataset(tmp_path)
    again = open_dataset(tmp_path, known_broken=first.skipped)
    assert again.card == first.card
    # Nothing is checked: a file that broke since is in its split as before.
    (tmp_path / "dog" / "00.png").write_bytes(b"")
    assert "dog/00.png" in named_labels(open_dataset(tmp_path, known_broken=first.skipped))


# What is refused


def test_all_broken(tmp_path: Path) -> None:
    for name in ("cat/a.png", "cat/b.png", "dog/a.png"):
        draw(tmp_path / name).write_bytes(b"broken")
    message = refused(tmp_path)
    assert "none of the 3 images" in message
    assert str(tmp_path) in message


def test_a_class_with_only_broken_images(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"])
    draw(tmp_path / "eel" / "a.png").write_bytes(b"broken")
    assert "'eel'" in refused(tmp_path)


def test_a_class_broken_in_train_only(tmp_path: Path) -> None:
    fill(tmp_path / "train", ["cat", "dog"])
    fill(tmp_path / "val", ["cat", "dog", "eel"])
    draw(tmp_path / "train" / "eel" / "a.png").write_bytes(b"broken")
    assert "'eel'" in refused(tmp_path)


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


# Order, seeds and fingerprints


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


# Other ways in


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
    split, skipped = opened.split, opened.skipped
    assert split.source.classes == ("cat", "dog")
    assert len(split) == 9
    assert [entry.id for entry in skipped] == ["cat/00.png"]


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


def test_to_evaluate_a_share_of_train_is_val_as_in_training(tmp_path: Path) -> None:
    for name, count in {"train": 20, "test": 2}.items():
        fill(tmp_path / name, ["cat", "dog"], count)
    dataset = open_dataset(tmp_path, seed=3)
    for name in ("train", "val"):
        assert members(open_labelled(tmp_path, name, 3).split) == members(dataset.split(name))


def test_to_evaluate_a_split_with_nothing_readable_is_an_error(tmp_path: Path) -> None:
    for name in ("train", "val"):
        fill(tmp_path / name, ["cat", "dog"], 4)
    for path in (tmp_path / "val").rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(VertebraError, match=r"images of 'val' in .* can be decoded"):
        open_labelled(tmp_path, "val")


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


# Digits


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return open_dataset("digits")


def test_digits_are_divided_as_scikit_learn_would(digits: ImageDataset) -> None:
    assert [len(split) for split in digits.splits] == [1077, 360, 360]
    target = load_digits().target
    places = [split.indices for split in digits.splits]
    assert sorted(np.concatenate(places).tolist()) == list(range(1797)), "disjoint and complete"
    divider = StratifiedShuffleSplit(1, test_size=360, train_size=1437, random_state=0)
    _, theirs = next(divider.split(target, target))
    expected = np.bincount(target[theirs], minlength=10)
    proportional = np.bincount(target) * 360 / 1797
    for name in ("val", "test"):
        ours = np.bincount(digits.split(name).labels, minlength=10)
        assert np.abs(ours - proportional).max() < 1
        assert np.abs(ours - expected).max() <= 1
    assert np.array_equal(digits.split("test").labels, target[digits.split("test").indices])


def test_digits_have_one_split_for_every_seed(digits: ImageDataset) -> None:
    for seed in (1, 7, 12345):
        other = open_dataset("digits", seed=seed)
        assert [members(s) for s in other.splits] == [members(s) for s in digits.splits]
        assert other.card == digits.card


def test_digits_are_not_divided_by_place(digits: ImageDataset) -> None:
    """A writer's digits follow each other, so a split by place would be another question."""
    middle = np.mean([split.indices.mean() / 1797 for split in digits.splits])
    assert abs(middle - 0.5) < 0.05
    for split in digits.splits:
        assert abs(split.indices.mean() / 1797 - 0.5) < 0.05


def test_pixels_of_the_digits(digits: ImageDataset) -> None:
    grey = torch.tensor(load_digits().images / 16, dtype=torch.float64)[:, None]
    expected = 255 * F.interpolate(grey, size=(32, 32), mode="bilinear", align_corners=False)
    for split in digits.splits:
        ours = torch.stack([split.read(place) for place in range(len(split))])
        assert ours.dtype == torch.uint8
        assert (ours.double() - expected[split.indices]).abs().max() <= 0.5 + 1e-4


def test_digits_in_colour_are_three_times_the_grey(digits: ImageDataset) -> None:
    colour = open_dataset("digits", channels=3)
    assert colour.train.read(5).shape == (3, 32, 32)
    assert torch.equal(colour.train.read(5), digits.train.read(5).expand(3, -1, -1))
    assert colour.card.fingerprint == digits.card.fingerprint


def test_digits_are_named_alike_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: ImageDataset
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_labelled("digits").split.name == "test"
    assert members(open_labelled("digits").split) == members(digits.test)
    assert members(open_labelled("digits", "val").split) == members(digits.val)
