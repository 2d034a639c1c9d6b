"""What an inspection says of a dataset, against plain NumPy and Pillow, and of planted faults."""

from __future__ import annotations

import io
import json
import math
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from doubles import clean_folder, scene
from PIL import Image

from html_reader import Reader
from vertebra.core import VertebraError
from vertebra.data import find_broken, open_dataset
from vertebra.data.inspection import Inspection, Suspect, Suspects, inspect
from vertebra.data.inspection.facts import balance
from vertebra.data.inspection.page import page
from vertebra.runs import Finding


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clean_folder(tmp_path_factory.mktemp("clean") / "trees")


@pytest.fixture
def trees(clean: Path, tmp_path: Path) -> Path:
    """A copy of the clean folder to spoil."""
    return Path(shutil.copytree(clean, tmp_path / "trees"))


def looked(path: Path | str, **options: int) -> Inspection:
    return inspect(open_dataset(path, cache="none"), **options)


def only(path: Path, code: str) -> Finding:
    """The one finding, by its code."""
    found = looked(path).findings
    assert [finding.code for finding in found] == [code]
    return found[0]


def test_nothing_is_said_of_a_clean_folder(clean: Path) -> None:
    seen = looked(clean)
    assert seen.findings == ()
    assert seen.notes == ()
    assert not seen.failed
    assert seen.scan.hashed.all()


def test_nothing_is_said_of_digits() -> None:
    assert looked("digits").findings == ()


def test_facts_are_those_of_numpy_and_pillow(tmp_path: Path) -> None:
    sizes = ((40, 30), (64, 64), (20, 90), (300, 228))
    for place, size in enumerate(sizes):
        for name in ("oak", "elm"):
            for split in ("train", "val"):
                folder = tmp_path / split / name
                folder.mkdir(parents=True, exist_ok=True)
                picture = scene(place + 10 * (name == "elm") + 100 * (split == "val"), size)
                picture = picture.point(lambda value, by=place: value * (by + 4) // 8)
                kind = "jpg" if place else "png"
                if place == 2 and name == "oak":
                    picture = picture.convert("L")
                picture.save(folder / f"{place}.{kind}")
    facts = looked(tmp_path).facts
    files = sorted(tmp_path.rglob("*.*"))
    opened = [Image.open(file) for file in files]
    training = [
        np.asarray(image.convert("RGB"), dtype=np.float64) / 255
        for file, image in zip(files, opened, strict=True)
        if "train" in file.parts
    ]
    mean = np.mean([pixels.mean(axis=(0, 1)) for pixels in training], axis=0)
    square = np.mean([(pixels**2).mean(axis=(0, 1)) for pixels in training], axis=0)
    np.testing.assert_allclose(facts.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(facts.std, np.sqrt(square - mean**2), rtol=1e-9)
    # Each pixel weighing the same would be something else, and so would all splits together.
    pooled = np.concatenate([pixels.reshape(-1, 3) for pixels in training])
    assert abs(facts.mean - pooled.mean(axis=0)).max() > 1e-3
    assert facts.sizes is not None
    widths = [image.width for image in opened]
    aspects = [image.width / image.height for image in opened]
    assert facts.sizes.width == (min(widths), np.median(widths), max(widths))
    assert facts.sizes.aspect == pytest.approx((min(aspects), np.median(aspects), max(aspects)))
    assert facts.sizes.below == {32: 8, 64: 8, 224: 12}
    assert not facts.sizes.alike
    assert facts.formats == {"JPEG RGB": 10, "PNG RGB": 4, "JPEG L": 2}
    assert facts.grey == 2
    assert facts.bytes == sum(file.stat().st_size for file in files)
    assert facts.images == 16


def test_grey_is_told_by_the_pixels_and_not_by_the_mode(trees: Path) -> None:
    grey = scene(500).convert("L")
    grey.convert("RGB").save(trees / "train/oak/000.png")
    # One pixel off, and turned: the same counts of values in every channel, and no grey picture.
    colours = np.stack([np.asarray(grey)] * 3, axis=-1).copy()
    colours[0, 0], colours[5, 5] = (1, 2, 3), (3, 1, 2)
    colours[9, 9] = (2, 3, 1)
    Image.fromarray(colours).save(trees / "train/oak/001.png")
    seen = looked(trees)
    names = [seen.id(int(at)) for at in np.flatnonzero(seen.scan.grey)]
    assert names == ["train/oak/000.png"]


def test_balance() -> None:
    found = balance({"a": 50, "b": 25, "c": 25})
    assert found.ratio == 2
    assert found.effective == pytest.approx(math.exp(0.5 * math.log(2) + 0.5 * math.log(4)))
    assert found.few == {}
    assert balance({"a": 7, "b": 7}).effective == pytest.approx(2)
    assert balance({"a": 9, "b": 10}).few == {"a": 9}


def test_copies_in_other_splits(trees: Path) -> None:
    shutil.copy(trees / "train/oak/000.jpg", trees / "test/oak/copy.jpg")
    smaller = Image.open(trees / "train/elm/003.jpg").resize((224, 224), Image.Resampling.BICUBIC)
    smaller.save(trees / "val/elm/smaller.jpg", quality=75)
    finding = only(trees, "D001")
    assert finding.level == "fault"
    assert finding.numbers == {"val": 1, "val_exact": 0, "test": 1, "test_exact": 1}


def test_copies_in_val_and_test_only(trees: Path) -> None:
    shutil.copy(trees / "val/oak/000.jpg", trees / "test/oak/copy.jpg")
    assert "in val and in test" in only(trees, "D001").what


def test_one_picture_with_two_labels(trees: Path) -> None:
    shutil.copy(trees / "train/oak/000.jpg", trees / "train/elm/copy.jpg")
    found = {finding.code: finding for finding in looked(trees).findings}
    assert set(found) == {"D002", "D010"}
    assert found["D002"].level == "fault"
    assert "train/elm/copy.jpg and train/oak/000.jpg" in found["D002"].what
    assert found["D010"].numbers["copies"] == 1


def test_near_copies_with_two_labels_are_no_fault(trees: Path) -> None:
    Image.open(trees / "train/oak/000.jpg").save(trees / "train/elm/copy.jpg", quality=60)
    found = {finding.code: finding.level for finding in looked(trees).findings}
    assert found == {"D002": "warning", "D010": "note"}


def test_equal_files_stay_equal_beside_a_near_copy(trees: Path) -> None:
    """What is so of two files is so whatever else there is."""
    shutil.copy(trees / "train/oak/000.jpg", trees / "val/elm/copy.jpg")
    near = Image.open(trees / "train/oak/000.jpg")
    for place in ("train/oak/near.jpg", "val/oak/near.jpg"):
        near.save(trees / place, quality=60 if place.startswith("train") else 70)
    contents = {path: path.read_bytes() for path in trees.glob("*/*/*.jpg")}
    training = {content for path, content in contents.items() if path.parts[-3] == "train"}
    held = [content for path, content in contents.items() if path.parts[-3] == "val"]
    assert sum(content in training for content in held) == 1
    found = {finding.code: finding for finding in looked(trees).findings}
    assert found["D001"].numbers == {"val": 2, "val_exact": 1}
    assert "2 val images (1 to the byte)" in found["D001"].what
    assert found["D002"].level == "fault"
    assert "(1 of them in equal files)" in found["D002"].what
    assert "train/oak/000.jpg and val/elm/copy.jpg" in found["D002"].what


def test_equal_files_of_one_label_beside_a_near_copy_of_another(trees: Path) -> None:
    shutil.copy(trees / "train/oak/000.jpg", trees / "train/oak/copy.jpg")
    Image.open(trees / "train/oak/000.jpg").save(trees / "train/elm/near.jpg", quality=60)
    found = {finding.code: finding for finding in looked(trees).findings}
    assert found["D002"].level == "warning"
    assert found["D002"].numbers == {"pictures": 1, "exact": 0}


def test_broken_files_with_reasons(trees: Path) -> None:
    whole = (trees / "train/oak/000.jpg").read_bytes()
    (trees / "train/oak/000.jpg").write_bytes(whole[: len(whole) // 2])
    (trees / "val/elm/000.jpg").write_bytes(b"nothing")
    (trees / "test/elm/gone.jpg").symlink_to(trees / "nowhere.jpg")
    dataset = open_dataset(trees)
    seen = inspect(dataset)
    assert [(entry.id, entry.reason) for entry in seen.broken] == [
        (entry.id, entry.reason) for entry in find_broken(dataset.source, 3)
    ]
    assert len(seen.broken) == 3
    assert seen.card.skipped == seen.broken
    (finding,) = seen.findings
    assert (finding.code, finding.level) == ("D004", "fault")
    assert finding.numbers["files"] == 3


def test_all_broken(trees: Path) -> None:
    for file in trees.rglob("*.jpg"):
        file.write_bytes(b"nothing")
    seen = looked(trees)
    assert seen.facts.sizes is None
    assert seen.facts.mean is None
    assert [finding.code for finding in seen.findings] == ["D004"]
    assert Reader(page(seen).html()).unbalanced == []


def remove(folder: Path, keep: int) -> None:
    for file in sorted(folder.iterdir())[keep:]:
        file.unlink()


def test_small_class(trees: Path) -> None:
    remove(trees / "train/elm", 9)
    assert "elm (9)" in only(trees, "D003").what


def test_a_finding_is_of_the_room_of_runs(trees: Path) -> None:
    """One type for all who find something: the doctor's are kept in run folders."""
    remove(trees / "train/elm", 9)
    (finding,) = looked(trees).findings
    assert type(finding) is Finding
    assert Finding.__module__ == "vertebra.runs.finding"


def test_imbalance(trees: Path) -> None:
    remove(trees / "train/elm", 10)
    assert looked(trees).findings == ()
    for number in range(80):
        scene(1000 + number).save(trees / f"train/oak/more{number}.jpg")
    finding = only(trees, "D005")
    assert finding.numbers["ratio"] == 10


def test_images_below_the_input(tmp_path: Path) -> None:
    root = clean_folder(tmp_path / "small", size=(130, 100))
    finding = only(root, "D006")
    assert "image_size=96" in finding.cure
    assert looked(root, input_size=96).findings == ()


def test_grey_images(trees: Path) -> None:
    for file in sorted((trees / "train/oak").iterdir())[:3]:
        Image.open(file).convert("L").save(file)
    assert only(trees, "D007").level == "note"
    for file in trees.glob("*/oak/*.jpg"):
        Image.open(file).convert("L").save(file)
    finding = only(trees, "D007")
    assert finding.level == "warning"
    assert "oak 100 %" in finding.what
    assert inspect(open_dataset(trees, channels=1)).findings == ()
    for file in trees.glob("*/elm/*.jpg"):
        Image.open(file).convert("L").save(file)
    assert "--channels 1" in only(trees, "D007").cure


def test_cut_shard(tmp_path: Path) -> None:
    path = tmp_path / "all-0.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(40):
            buffer = io.BytesIO()
            scene(number).save(buffer, "JPEG")
            label = b"oak" if number % 2 else b"elm"
            for suffix, content in (("jpg", buffer.getvalue()), ("cls", label)):
                member = tarfile.TarInfo(f"{number:03d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    source = f"wds:{path}"
    assert looked(source).findings == ()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 7 // 8])
    (finding,) = looked(source).findings
    assert (finding.code, finding.level) == ("D009", "fault")


def test_labels_in_doubt_are_said(clean: Path) -> None:
    row = Suspect("train/oak/000.jpg", "val", "oak", "elm", 0.01, 0.98)
    suspects = Suspects("runs/x", 40, 1, (row,))
    seen = inspect(open_dataset(clean), suspects=suspects)
    (finding,) = seen.findings
    assert (finding.code, finding.level) == ("D008", "warning")
    reader = Reader(page(seen).html())
    assert "labelled oak (1.0 %), looks like elm (98.0 %)" in reader.text
    none = inspect(open_dataset(clean), suspects=Suspects("runs/x", 40, 0, ()))
    assert none.findings == ()


def test_sample_is_drawn_by_the_seed(clean: Path) -> None:
    one, again, other = (looked(clean, sample=10, seed=seed) for seed in (0, 0, 1))
    assert one.scan.indices.tolist() == again.scan.indices.tolist()
    assert one.scan.indices.tolist() != other.scan.indices.tolist()
    assert len(one.scan.indices) == 10
    assert one.scan.indices.tolist() == sorted(set(one.scan.indices.tolist()))
    assert "looked at 10 of 80 images" in one.notes[0]
    for at in range(10):
        assert one.id(at).startswith(f"{one.split(at)}/{one.label(at)}/")
    with pytest.raises(VertebraError, match="at least one image"):
        looked(clean, sample=0)


def test_threads_and_order_change_nothing(trees: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(trees / "train/oak/000.jpg", trees / "test/oak/copy.jpg")
    (trees / "val/elm/000.jpg").write_bytes(b"nothing")
    whole = looked(trees).to_dict()
    monkeypatch.setattr("vertebra.data.inspection.scan.usable_cores", lambda: 7)
    monkeypatch.setattr("vertebra.data.inspection.scan._AT_ONCE", 1)
    assert looked(trees).to_dict() == whole
    json.dumps(whole, allow_nan=False)


def test_stops_at_once(clean: Path) -> None:
    calls = []

    def progress(done: int, total: int) -> None:
        calls.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspect(open_dataset(clean), progress=progress)
    assert len(calls) == 1


@pytest.fixture
def spoilt(trees: Path) -> Path:
    shutil.copy(trees / "train/oak/000.jpg", trees / "test/oak/copy.jpg")
    shutil.copy(trees / "train/oak/001.jpg", trees / "train/elm/wrong.jpg")
    (trees / "val/elm/000.jpg").write_bytes(b"nothing")
    for split in ("train", "val", "test"):
        (trees / split / "elm").rename(trees / split / "<b>elm")
    return trees


def test_page_shows_it_all(spoilt: Path, check_page: Callable[[str], Reader]) -> None:
    reader = check_page(page(looked(spoilt)).html())
    for words in ("D001 fault", "D002 fault", "D004 fault", "val/<b>elm/000.jpg", "not an image"):
        assert words in reader.text
    pictures = [attributes["src"] for tag, attributes in reader.elements if tag == "img"]
    assert len(pictures) == 2  # pairs
    sheets = [a["href"] for tag, a in reader.elements if tag == "image"]
    assert len(sheets) == 2  # classes
    assert "train/oak/000.jpg (train, oak)" in reader.text


@pytest.fixture
def check_page() -> Callable[[str], Reader]:
    def check(html: str) -> Reader:
        reader = Reader(html)
        assert reader.unbalanced == []
        assert not {tag for tag, _ in reader.elements} & {"script", "b", "link", "iframe"}
        assert "http://" not in html.replace("http://www.w3.org", "")
        return reader

    return check
