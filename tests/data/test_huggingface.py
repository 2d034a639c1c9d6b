"""Tables of the datasets library, against the library itself."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pytest
import torch
from folders import refused
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet

from vertebra.core import Preprocessing
from vertebra.data import evaluation_batches, open_dataset, open_labelled

SMALL = Preprocessing(size=4, resize=4, mean=(0.5,) * 3, std=(0.25,) * 3)
NAMES = ["dog", "cat"]  # a ClassLabel's names have an order of their own


def picture(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (6 + seed % 5, 8, 3), dtype=np.uint8)


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(seed)).save(buffer, "PNG")
    return buffer.getvalue()


def table(count: int, first: int = 0, label: Any = None, **columns: Any) -> datasets.Dataset:
    """Images that are told by their pixels; every other one is a cat."""
    seeds = range(first, first + count)
    features = datasets.Features(
        {"photo": datasets.Image(), "animal": datasets.ClassLabel(names=NAMES)}
    )
    rows = {"photo": [{"bytes": png(seed), "path": None} for seed in seeds]}
    rows["animal"] = [seed % 2 for seed in seeds] if label is None else label  # type: ignore[misc]
    made = datasets.Dataset.from_dict(rows, features=features)
    for name, values in columns.items():
        made = made.add_column(name, values)
    return made


def seen_by(opened: Any, place: int) -> tuple[bytes, str]:
    """Pixels and class name of an image as we read it."""
    split = opened.train
    image = split.read(place).permute(1, 2, 0).numpy()
    return image.tobytes(), opened.classes[split.labels[place]]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf cache")


def saved(tmp_path: Path, kind: str) -> str:
    """40 images to train on and 10 of each other split, in every form that there is."""
    parts = {"train": table(40), "validation": table(10, 100), "test": table(10, 200)}
    root = tmp_path / "set"
    if kind == "saved":
        datasets.DatasetDict(parts).save_to_disk(root)
    for name, part in parts.items():
        root.mkdir(parents=True, exist_ok=True)
        if kind == "parquet":
            part.select(range(5)).to_parquet(root / f"{name}-00000-of-00002.parquet")
            part.select(range(5, len(part))).to_parquet(root / f"{name}-00001-of-00002.parquet")
        if kind == "arrow":
            part.save_to_disk(root / "all" / name)
            (file,) = (root / "all" / name).glob("*.arrow")
            (root / name).mkdir()
            file.rename(root / name / "data.arrow")
    if kind == "arrow":
        for name in parts:
            for file in (root / "all" / name).iterdir():
                file.unlink()
    return f"hf:{root}"


@pytest.mark.parametrize("kind", ["saved", "parquet", "arrow"])
def test_a_dataset_is_what_the_library_reads(tmp_path: Path, kind: str) -> None:
    opened = open_dataset(saved(tmp_path, kind))
    assert opened.classes == tuple(NAMES)
    assert {split.name: len(split) for split in opened.splits} == {
        "train": 40,
        "val": 10,
        "test": 10,
    }
    theirs = table(40)
    for place in range(40):
        pixels, name = seen_by(opened, place)
        assert pixels == np.asarray(theirs[place]["photo"]).tobytes()
        assert name == NAMES[theirs[place]["animal"]]
        assert opened.source.encoded(place) == png(place)
        assert opened.source.stamp(place) == f"train/{place}\0{len(png(place))}"
    assert opened.split("test").id(3) == "test/3"
    assert opened.split("test").read(3).permute(1, 2, 0).numpy().tobytes() == picture(203).tobytes()


def test_every_form_has_the_same_fingerprint(tmp_path: Path) -> None:
    prints = set()
    for kind in ("saved", "parquet", "arrow"):
        prints.add(open_dataset(saved(tmp_path / kind, kind)).card.fingerprint)
    assert len(prints) == 1


def test_images_are_not_decoded_by_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = saved(tmp_path, "saved")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded by the library")

    monkeypatch.setattr(datasets.Image, "decode_example", refuse)
    opened = open_dataset(text)
    assert opened.train.read(7).shape == (3, 8, 8)
    assert opened.card.fingerprint


def test_a_single_table_is_divided_here(tmp_path: Path) -> None:
    for name, write in (
        ("a", lambda path: table(100).save_to_disk(path)),
        ("b.parquet", lambda path: table(100).to_parquet(path)),
    ):
        write(tmp_path / name)  # type: ignore[no-untyped-call]
        opened = open_dataset(f"hf:{tmp_path / name}")
        assert [len(split) for split in opened.splits] == [70, 15, 15]
        assert opened.notes == ()


def test_rows_that_were_shuffled_and_selected_are_those(monkeypatch: pytest.MonkeyPatch) -> None:
    # Such a table keeps a map from its rows to those in the file.
    made = table(60).shuffle(seed=1).select(range(5, 45))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: made)
    source = open_dataset("hf:owner/name").source
    undecoded = made.cast_column("photo", datasets.Image(decode=False))
    for index in range(40):
        content = undecoded[index]["photo"]["bytes"]
        assert source.encoded(index) == content
        assert source.stamp(index) == f"train/{index}\0{len(content)}"
        assert int(source.labels[index]) == made[index]["animal"]


def test_a_copy_for_another_process_reads_the_same(tmp_path: Path) -> None:
    opened = open_dataset(saved(tmp_path, "saved"))
    packed = pickle.dumps(opened.source)
    assert len(packed) < 100_000
    assert pickle.loads(packed).encoded(11) == png(11)
    alone, *others = (
        list(evaluation_batches(opened.train, SMALL, 7, workers)) for workers in (0, 2)
    )
    for other in others:
        assert all(torch.equal(a.images, b.images) for a, b in zip(alone, other, strict=True))


def test_columns_are_named_where_types_do_not_tell(tmp_path: Path) -> None:
    made = table(40, label=None, kind=["x", "y"] * 20, who=[f"p{n // 4}" for n in range(40)])
    made = made.add_column("second", made["animal"])
    made.save_to_disk(tmp_path / "a")
    base = f"hf:{tmp_path / 'a'}"
    opened = open_dataset(f"{base}?label=kind&group=who")
    assert opened.classes == ("x", "y")
    assert opened.card.groups == 10
    homes: dict[str, str] = {}
    for split in opened.splits:
        for place in range(len(split)):
            patient = made["who"][int(split.id(place).split("/")[1])]
            assert homes.setdefault(patient, split.name) == split.name
    assert "did you mean kind?" in refused(Path(f"{base}?label=kinds"))
    assert "did you mean label?" in refused(Path(f"{base}?labels=kind"))


def test_tables_without_the_librarys_notes_are_read(tmp_path: Path) -> None:
    rows = {
        "image": [{"bytes": png(seed), "path": f"{seed}.png"} for seed in range(40)],
        "label": [10 * (seed % 2) for seed in range(40)],
    }
    parquet.write_table(pyarrow.table(rows), tmp_path / "plain.parquet")
    rows["image"] = [png(seed) for seed in range(40)]  # type: ignore[misc]
    parquet.write_table(pyarrow.table(rows), tmp_path / "bytes.parquet")
    for name in ("plain.parquet", "bytes.parquet"):
        opened = open_dataset(f"hf:{tmp_path / name}")
        assert opened.classes == ("0", "10")
        assert opened.source.encoded(5) == png(5)
        assert opened.source.stamp(5).endswith(f"\0{len(png(5))}")


def test_images_in_files_beside_the_table(tmp_path: Path) -> None:
    paths = []
    for seed in range(20):
        paths.append(str(tmp_path / f"{seed}.png"))
        Path(paths[-1]).write_bytes(png(seed))
    images = [{"bytes": None, "path": path} for path in paths]
    rows = {"image": images, "label": ["a", "b"] * 10}
    parquet.write_table(pyarrow.table(rows), tmp_path / "a.parquet")
    Path(paths[4]).unlink()
    opened = open_labelled(f"hf:{tmp_path / 'a.parquet'}")
    assert opened.split.source.stamp(4) == "train/4\0missing"
    (batch,) = evaluation_batches(opened.split, SMALL, 64)
    assert [(entry.id, entry.reason) for entry in batch.broken] == [("train/4", "no such file")]
    assert opened.split.source.encoded(5) == png(5)


def listed_files(root: Path, count: int = 20) -> str:
    """A table of paths of BMP files, which are all of one size."""
    paths = [str(root / f"{seed}.bmp") for seed in range(count)]
    for seed, path in enumerate(paths):
        Image.fromarray(picture(5 * seed)).save(path)
    images = [{"bytes": None, "path": path} for path in paths]
    rows = {"image": images, "label": ["a", "b"] * (count // 2)}
    parquet.write_table(pyarrow.table(rows), root / "a.parquet")
    return f"hf:{root / 'a.parquet'}"


def test_a_file_beside_the_table_that_is_written_anew_is_decoded_anew(tmp_path: Path) -> None:
    name, kept = listed_files(tmp_path), tmp_path / "kept"
    before = open_dataset(name, cache="disk", cache_folder=kept).train
    for place in range(len(before)):
        before.read(place)
    sizes = set()
    for path in tmp_path.glob("*.bmp"):
        sizes.add(path.stat().st_size)
        Image.new("RGB", Image.open(path).size, (200, 200, 200)).save(path)
        sizes.add(path.stat().st_size)
        os.utime(path, ns=(5, 5))
    assert len(sizes) == 1, "else the size alone would tell"
    after = open_dataset(name, cache="disk", cache_folder=kept).train
    assert {int(value) for place in range(len(after)) for value in after.read(place).unique()} == {
        200
    }


def test_stamps_of_files_beside_the_table_read_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_dataset(listed_files(tmp_path)).source
    monkeypatch.setattr(Path, "read_bytes", None)
    size = (tmp_path / "3.bmp").stat().st_size
    assert source.stamp(3) == f"train/3\0{size}"


def test_rows_without_a_label_are_passed_over_and_said(tmp_path: Path) -> None:
    labels = [-1 if n % 10 == 3 else n % 2 for n in range(40)]
    table(40, label=labels).save_to_disk(tmp_path / "a")
    opened = open_dataset(f"hf:{tmp_path / 'a'}")
    assert sum(map(len, opened.splits)) == 36
    assert opened.notes == ("passed over 4 images of 'train' without a label",)
    for index, name in enumerate(opened.source.ids):
        row = int(name.split("/")[1])
        assert opened.source.encoded(index) == png(row)
        assert opened.source.labels[index] == labels[row]


def test_other_splits_are_passed_over_and_said(tmp_path: Path) -> None:
    parts = {"train": table(40), "extra": table(5), "test": table(10, 50)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "a")
    opened = open_dataset(f"hf:{tmp_path / 'a'}")
    assert [len(split) for split in opened.splits] == [34, 6, 10]
    assert "passed over splits of other names: 'extra' (5 rows)" in opened.notes


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    assert "no such file" in refused(Path(f"hf:{tmp_path}/gone/set"))
    (tmp_path / "empty").mkdir()
    assert "no .parquet or .arrow" in refused(Path(f"hf:{tmp_path / 'empty'}"))
    (tmp_path / "x.parquet").write_bytes(b"no table")
    assert "cannot be loaded" in refused(Path(f"hf:{tmp_path / 'x.parquet'}"))
    datasets.Dataset.from_dict({"x": [1]}).save_to_disk(tmp_path / "none")
    assert "has no image column" in refused(Path(f"hf:{tmp_path / 'none'}"))
    made = table(10).rename_column("animal", "breed")
    made.add_column("other", made["breed"]).cast_column(
        "other", datasets.ClassLabel(names=NAMES)
    ).save_to_disk(tmp_path / "two")
    assert "several label columns among breed, other" in refused(Path(f"hf:{tmp_path / 'two'}"))


def test_a_name_on_the_hub_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, config: str | None, revision: str | None) -> datasets.DatasetDict:
        asked.append((name, config, revision))
        return datasets.DatasetDict({"train": table(40), "test": table(10)})

    monkeypatch.setattr(datasets, "load_dataset", load)
    opened = open_dataset("hf:owner/name?config=small")
    assert asked == [("owner/name", "small", None)]
    assert opened.card.source == "hf:owner/name?config=small"

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hub\nand a long story")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    message = refused(Path("hf:owner/name"))
    assert message == (
        "hf:owner/name cannot be loaded: Couldn't reach the Hub; "
        "from the hub it takes a network, from a folder not"
    )
