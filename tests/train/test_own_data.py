"""A run's own data by another name, and data that shares images with it."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

import vertebra as vb
from vertebra.runs import Recipe, Run
from vertebra.train import Evaluation, evaluate, own_data, trained_on

KINDS = ("folder", "manifest", "wds", "hf")
SMALL = {"epochs": 1, "warmup": 0, "batch_size": 16, "threads": 1, "precision": "fp32"}


def pictures(root: Path, each: int = 20, seed: int = 0) -> Path:
    """Files ``dark|light/NUMBER.png``."""
    generator = np.random.default_rng(seed)
    for name, low in (("dark", 0), ("light", 150)):
        (root / name).mkdir(parents=True)
        for index in range(each):
            pixels = generator.integers(low, low + 50, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:03d}.png")
    return root


def listed(images: Path, path: Path) -> Path:
    files = sorted(images.glob("*/*.png"))
    rows = [f"{os.path.relpath(file, path.parent)},{file.parent.name}" for file in files]
    path.write_text("\n".join(["path,label", *rows]) + "\n")
    return path


def packed(images: Path, root: Path) -> Path:
    """Three shards."""
    root.mkdir()
    files = sorted(images.glob("*/*.png"))
    for number in range(3):
        with tarfile.open(root / f"s-{number}.tar", "w") as tar:
            for at, file in list(enumerate(files))[number::3]:
                for suffix, content in (
                    ("png", file.read_bytes()),
                    ("cls", file.parent.name.encode()),
                ):
                    member = tarfile.TarInfo(f"{at:03d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return root


def tabled(images: Path, root: Path) -> Path:
    files = sorted(images.glob("*/*.png"))
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["dark", "light"])}
    )
    rows = {
        "image": [{"bytes": file.read_bytes(), "path": None} for file in files],
        "label": [int(file.parent.name == "light") for file in files],
    }
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(root)
    return root


def names(root: Path, kind: str) -> list[str]:
    """The same data: first by the name to train by, then by others."""
    link = root / "link"
    link.symlink_to(root, target_is_directory=True)
    if kind == "folder":
        shutil.copytree(root / "images", root / "copy")
        own = [root / "images", f"{root}/images/", link / "images", root / "copy"]
        return [str(path) for path in own]
    if kind == "manifest":
        path = listed(root / "images", root / "list.csv")
        shutil.copy(path, root / "again.csv")
        return [str(one) for one in (path, os.path.relpath(path), link / path.name)] + [
            str(root / "again.csv")
        ]
    if kind == "wds":
        base = packed(root / "images", root / "shards")
        return [f"wds:{base}", f"wds:{base}/s-{{0..2}}.tar", f"wds:{link}/shards/s-{{0,1,2}}.tar"]
    base = tabled(root / "images", root / "table")
    return [f"hf:{base}", *(f"hf:{place}?label=label" for place in (base, link / "table"))]


def fitted(source: str, out: Path) -> Run:
    recipe = Recipe.load("scratch-small", model="resnet20", data=source, image_size=16, **SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vertebra.train.summary.write_report", lambda *_: None)
        return vb.train.fit(recipe, out)


@pytest.fixture(scope="module", params=KINDS)
def known(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, list[str]]:
    """A run, and the names of its data."""
    root = tmp_path_factory.mktemp(request.param)
    pictures(root / "images")
    own = names(root, request.param)
    return fitted(own[0], root / "run"), own


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("own")
    return fitted(str(pictures(root / "images")), root / "run")


def contents(run: Run) -> set[bytes]:
    """The files that a run was trained on."""
    train = vb.data.open_dataset(run.recipe.data.source, run.recipe.data.split_seed).train
    return {(Path(run.recipe.data.source) / train.id(at)).read_bytes() for at in range(len(train))}


def said(found: Evaluation) -> list[str]:
    return [note for note in found.notes if "trained on" in note]


def test_own_data_by_another_name_is_judged_on_what_was_held_out(
    known: tuple[Run, list[str]],
) -> None:
    run, (first, *others) = known
    own = evaluate(run, data=first)
    assert own.split == "test"
    assert said(own) == []
    assert 0 < len(own.ids) < 20
    assert not set(own.ids) & set(evaluate(run, "train").ids)
    for name in others:
        found = evaluate(run, data=name)
        assert (found.split, found.ids) == ("test", own.ids), name
        assert found.scores.loss == own.scores.loss
        asked = evaluate(run, "train", data=name)
        assert asked.ids == evaluate(run, "train").ids


def test_other_columns_of_the_same_tables_are_other_data(tmp_path: Path) -> None:
    """The name of the place alone does not say what is judged."""
    base = tabled(pictures(tmp_path / "images"), tmp_path / "table")
    table = datasets.load_from_disk(str(base))
    turned = table.add_column("turned", [1 - label for label in table["label"]])
    turned = turned.cast_column("turned", table.features["label"])
    turned.save_to_disk(tmp_path / "both")
    run = fitted(f"hf:{tmp_path / 'both'}?label=label", tmp_path / "run")
    found = evaluate(run, data=f"hf:{tmp_path / 'both'}?label=turned")
    trained = evaluate(run, "train").ids
    assert len(found.ids) == 40
    assert said(found) == [f"{len(trained)} of the 40 images judged were trained on"]


def test_moved_data_is_known_again(tmp_path: Path) -> None:
    run = fitted(str(pictures(tmp_path / "images")), tmp_path / "run")
    own = evaluate(run)
    (tmp_path / "images").rename(tmp_path / "moved")
    found = evaluate(run, data=tmp_path / "moved")
    assert found.ids == own.ids
    (note,) = said(found)
    assert note == f"{tmp_path}/moved is what the run was trained on: its test images are judged"


def test_images_that_were_trained_on_are_counted(run: Run, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run.recipe.data.source, tmp_path / "other"))
    for name in ("000.png", "003.png", "007.png"):
        (other / "dark" / name).unlink()
    fresh = pictures(tmp_path / "fresh", 30, seed=1)
    for index in range(20, 30):
        shutil.copy(fresh / "light" / f"{index:03d}.png", other / "light")
    found = evaluate(run, data=other)
    files = [path.read_bytes() for path in other.glob("*/*.png")]
    expected = sum(content in contents(run) for content in files)
    assert 10 < expected < len(files)
    assert said(found) == [f"{expected} of the {len(files)} images judged were trained on"]


def test_files_of_the_run_by_other_names_are_counted(run: Run, tmp_path: Path) -> None:
    """A list elsewhere calls them otherwise, and a folder of theirs holds one class."""
    images = Path(run.recipe.data.source)
    files = sorted(images.glob("light/*.png"))
    expected = sum(path.read_bytes() in contents(run) for path in files)
    rows = [f"{path},light" for path in files]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    found = evaluate(run, data=tmp_path / "list.csv")
    assert said(found) == [f"{expected} of the 20 images judged were trained on"]


def test_equal_names_and_sizes_are_not_enough(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a camera that numbers its pictures and writes them without compression."""
    other = pictures(tmp_path / "other", seed=1)
    for path in other.glob("*/*.png"):
        own = Path(run.recipe.data.source) / path.relative_to(other)
        path.write_bytes(path.read_bytes()[: own.stat().st_size].ljust(own.stat().st_size, b"\0"))
    found = evaluate(run, data=other)
    assert len(found.ids) + len(found.skipped) == 40, "all are judged, not a test split of them"
    assert said(found) == []
    monkeypatch.setattr(own_data, "LOOKED_AT", 5)
    assert said(evaluate(run, data=other)) == []


def test_of_many_some_are_compared(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copytree(run.recipe.data.source, tmp_path / "other"))
    (other / "dark" / "000.png").unlink()
    (whole,) = said(evaluate(run, data=other))
    monkeypatch.setattr(own_data, "LOOKED_AT", 5)
    read: list[int] = []
    encoded = vb.data.Split.encoded

    def counted(self: vb.data.Split, place: int) -> bytes | None:
        read.append(place)
        return encoded(self, place)

    monkeypatch.setattr(vb.data.Split, "encoded", counted)
    assert said(evaluate(run, data=other)) == [whole]
    assert 2 * 5 <= len(read) < 2 * 10, "of both, and all would be more"


@pytest.mark.parametrize("change", ["gone", "grown"])
def test_what_cannot_be_compared_is_said(
    tmp_path: Path, change: str, make_folder: Callable[..., Path]
) -> None:
    own, other = pictures(tmp_path / "images"), make_folder("other")
    run = fitted(str(own), tmp_path / "run")
    if change == "gone":
        shutil.rmtree(own)
    else:
        shutil.copy(own / "dark" / "000.png", own / "dark" / "new.png")
    (note,) = said(evaluate(run, data=other))
    assert note.startswith("whether some of these images were trained on is not known: ")


def test_rows_are_not_compared_with_files(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share no names; and tables on the hub would be fetched for it."""
    base = tabled(pictures(tmp_path / "images"), tmp_path / "table")
    monkeypatch.setattr(trained_on, "unchanged_dataset", None)
    assert said(evaluate(run, data=f"hf:{base}")) == []
