"""WebDataset shards, against tarfile and the webdataset package reading the same files."""

import io
import json
import pickle
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from folders import members, refused
from PIL import Image

from vertebra.data import Sampling, epoch_order, open_dataset, open_labelled
from vertebra.data.sources.shard_files import expand_braces

Sample = dict[str, bytes]


def png(seed: int, size: int = 6) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def sample(key: str, seed: int, label: Any = None) -> tuple[str, Sample]:
    """About as large as three blocks, so that members end in all places of a block."""
    text = str(seed % 2 if label is None else label)
    return key, {"png": png(seed, 6 + seed % 40), "cls": text.encode()}


def write(
    path: Path, samples: Sequence[tuple[str, Sample]], kind: int = tarfile.GNU_FORMAT
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as file:
        for key, parts in samples:
            for suffix, content in parts.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return path


def shards(root: Path, prefix: str = "", count: int = 4, each: int = 15) -> Path:
    for number in range(count):
        seeds = range(number * each, (number + 1) * each)
        write(root / f"{prefix}{number:03d}.tar", [sample(f"{s:05d}", s) for s in seeds])
    return root


def theirs(paths: Sequence[Path]) -> list[tuple[str, bytes, str]]:
    """(key, image, label) of each sample as the webdataset package reads them."""
    found = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False)
    image = "png"
    return [(one["__key__"], one[image], one["cls"].decode()) for one in found]


def ours(opened: Any) -> list[tuple[str, bytes, str]]:
    source = opened.source
    return [
        (name.rpartition("/")[2], source.encoded(index), source.classes[source.labels[index]])
        for index, name in enumerate(source.ids)
    ]


GOOD = [sample(f"{n}", n) for n in range(10)]


def test_samples_are_those_that_webdataset_reads(tmp_path: Path) -> None:
    root = shards(tmp_path)
    opened = open_dataset(f"wds:{root}")
    expected = theirs(sorted(root.glob("*.tar")))
    assert len(expected) == 60
    assert ours(opened) == expected
    assert list(opened.source.ids[:2]) == ["000/00000", "000/00001"]
    assert (
        opened.source.read(17, 3).permute(1, 2, 0).numpy().tobytes()
        == np.asarray(Image.open(io.BytesIO(expected[17][1]))).tobytes()
    )
    assert [len(split) for split in opened.splits] == [42, 9, 9]
    assert opened.notes == ()


def test_a_writer_of_the_package_is_understood(tmp_path: Path) -> None:
    with webdataset.ShardWriter(str(tmp_path / "x-%02d.tar"), maxcount=20, verbose=0) as writer:
        for seed in range(50):
            writer.write({"__key__": f"k{seed}", "png": png(seed), "cls": seed % 3})
    opened = open_dataset(f"wds:{tmp_path}/x-{{00..02}}.tar")
    assert ours(opened) == theirs(sorted(tmp_path.glob("*.tar")))
    assert opened.classes == ("0", "1", "2")


LONG = "deep/" * 30 + "a folder with ünïcode 猫/" + "x" * 90


@pytest.mark.parametrize(
    "kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=str
)
def test_names_of_every_kind_of_tar(tmp_path: Path, kind: int) -> None:
    keys = ["a", "dir.x/b", "./d", "x" * 90, "some/" * 20 + "y" * 60]
    keys += [LONG] if kind != tarfile.USTAR_FORMAT else []
    keys += [f"k{n}" for n in range(20)]
    path = write(tmp_path / "s.tar", [sample(key, n) for n, key in enumerate(keys)], kind)
    opened = open_dataset(f"wds:{path}")
    with tarfile.open(path) as file:
        contents = {m.name: file.extractfile(m).read() for m in file}  # type: ignore[union-attr]
    for index, name in enumerate(opened.source.ids):
        key = name.removeprefix("s/")
        found = [n for n in contents if n.removeprefix("./").startswith(f"{key}.")]
        images = [contents[n] for n in found if n.endswith(".png")]
        assert opened.source.encoded(index) in images
    assert sorted(ours(opened)) == sorted(
        (key.removeprefix("./").rpartition("/")[2], image, label)
        for key, image, label in theirs([path])
    )


def test_what_is_no_sample_is_left_out(tmp_path: Path) -> None:
    path = write(
        tmp_path / "s.tar",
        [
            *(sample(f"{n}", n) for n in range(30)),
            ("__meta__/info", {"json": b"{}"}),
            ("._30", {"png": b"rubbish of another system"}),
            ("only-text", {"txt": b"words", "cls": b"0"}),
            ("two.images", {"left.png": png(1), "txt": b"no image", "cls": b"1"}),
            ("upper", {"PNG": png(3), "CLS": b"1", "seg.png": png(4)}),
        ],
    )
    with tarfile.open(path, "a") as file:
        folder = tarfile.TarInfo("folder.png")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
    opened = open_dataset(f"wds:{path}")
    assert list(opened.source.ids) == [f"s/{n}" for n in range(30)] + ["s/upper"]
    assert opened.source.encoded(30) == png(3)
    assert opened.notes == ("passed over samples without an image: 2",)


def test_labels_in_json_and_names(tmp_path: Path) -> None:
    samples = [
        (f"{n}", {"jpg": png(n), "json": json.dumps({"label": "ab"[n % 2], "x": [1]}).encode()})
        for n in range(30)
    ]
    write(tmp_path / "s.tar", samples)
    opened = open_dataset(f"wds:{tmp_path}")
    assert opened.classes == ("a", "b")
    assert opened.source.labels.tolist() == [n % 2 for n in range(30)]


@pytest.mark.parametrize("kind", ["txt", "json"])
def test_names_of_classes_beside_the_shards(tmp_path: Path, kind: str) -> None:
    names = ["zebra", "ape"]
    text = "\n".join(names) + "\n" if kind == "txt" else json.dumps(names)
    shards(tmp_path)
    (tmp_path / f"classes.{kind}").write_text(text)
    opened = open_dataset(f"wds:{tmp_path}/{{000..003}}.tar")
    assert opened.classes == ("zebra", "ape")
    assert opened.source.labels.tolist() == [n % 2 for n in range(60)]
    write(tmp_path / "000.tar", [sample("x", 1, 2)])
    assert "label 2" in refused(Path(f"wds:{tmp_path}"))
    write(tmp_path / "000.tar", [sample("x", 1, "zebr")])
    assert "did you mean zebra?" in refused(Path(f"wds:{tmp_path}"))


def test_splits_by_prefix_and_by_folder(tmp_path: Path) -> None:
    flat, deep = tmp_path / "flat", tmp_path / "deep"
    for name, count in {"train": 3, "validation": 1, "test": 1}.items():
        shards(flat, f"{name}-", count)
        shards(deep / name, "", count)
    one, other = open_dataset(f"wds:{flat}"), open_dataset(f"wds:{deep}")
    for opened in (one, other):
        assert {s.name: len(s) for s in opened.splits} == {"train": 45, "val": 15, "test": 15}
    assert members(one.val)[0] == "validation-000/00000"
    assert members(other.val)[0] == "validation/000/00000"
    pattern = f"wds:{flat}/{{train,test}}-000.tar"
    assert len(open_labelled(pattern).split) == 15
    write(flat / "other.tar", [sample("x", 1)])
    assert "is of no split and stands beside" in refused(Path(f"wds:{flat}"))


@pytest.mark.parametrize("spare", range(0, 5000, 367))
def test_of_a_shard_that_is_cut_off_what_is_whole_is_used(tmp_path: Path, spare: int) -> None:
    root = shards(tmp_path)
    path = root / "003.tar"
    whole = path.read_bytes()
    with tarfile.open(path) as file:
        ends = [member.offset_data + member.size for member in file if "cls" in member.name]
    cut = ends[-2] - 2500 + spare
    path.write_bytes(whole[:cut])
    complete = sum(end <= cut for end in ends)
    opened = open_dataset(f"wds:{root}")
    assert len(opened.source.ids) == 45 + complete
    expected = f"003.tar ends in the middle of a sample: {complete} samples of it used"
    assert opened.notes == (expected,)
    assert ours(opened)[:45] == theirs([root / f"{n:03d}.tar" for n in range(3)])
    path.write_bytes(whole)
    assert ours(opened)[45:] == theirs([path])[:complete]


def test_an_image_that_is_cut_off_is_not_used_though_its_label_is_there(tmp_path: Path) -> None:
    samples = [(key, dict(reversed(parts.items()))) for key, parts in GOOD]
    path = write(tmp_path / "a.tar", samples)
    with tarfile.open(path) as file:
        last = file.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset_data + last.size - 1])
    opened = open_dataset(f"wds:{path}")
    assert opened.notes == ("a.tar ends in the middle of a sample: 9 samples of it used",)
    assert len(opened.source.ids) == 9


def test_sizes_that_stand_in_a_pax_header(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as file:
        for key, parts in GOOD:
            for suffix, content in parts.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(content)
                info.pax_headers = {"size": str(len(content))}
                file.addfile(info, io.BytesIO(content))
    with tarfile.open(path) as file:
        headers = [member.offset_data - 512 for member in file]
    content = bytearray(path.read_bytes())
    for at in headers:  # as a file too large for the field has it
        content[at + 124 : at + 136] = b"0" * 11 + b"\0"
        content[at + 148 : at + 156] = b" " * 8
        content[at + 148 : at + 156] = f"{sum(content[at : at + 512]):06o}\0 ".encode()
    path.write_bytes(content)
    assert ours(open_dataset(f"wds:{path}")) == theirs([path])


def test_a_shard_cut_after_it_was_opened_is_a_broken_file(tmp_path: Path) -> None:
    root = shards(tmp_path)
    opened = open_labelled(f"wds:{root}")
    path = root / "003.tar"
    path.write_bytes(path.read_bytes()[:4096])
    source = opened.split.source
    assert source.encoded(59) is None
    assert source.encoded(0) is not None


def test_the_fingerprint_sees_a_change_and_a_copy_none(tmp_path: Path) -> None:
    one = open_dataset(f"wds:{shards(tmp_path / 'a')}")
    other = open_dataset(f"wds:{shards(tmp_path / 'b')}")
    assert one.card.fingerprint == other.card.fingerprint
    assert one.source.version(0) != other.source.version(0), "written at another time"
    write(tmp_path / "b" / "003.tar", [sample(f"{s:05d}", s + 1) for s in range(45, 60)])
    assert open_dataset(f"wds:{tmp_path / 'b'}").card.fingerprint != one.card.fingerprint
    copy = pickle.loads(pickle.dumps(one.source))
    assert copy.encoded(7) == one.source.encoded(7)


def test_an_epoch_reads_a_few_shards_at_a_time(tmp_path: Path) -> None:
    shards(tmp_path, "train-", 40, 5)
    shards(tmp_path, "val-", 1, 5)
    split = open_dataset(f"wds:{tmp_path}").train
    assert split.source.shards is not None
    orders = []
    for epoch in range(3):
        order = epoch_order(split, Sampling(20), 0, epoch)
        assert sorted(order.places.tolist()) == list(range(200))
        shown = split.source.shards[split.indices[order.places]]
        assert all(len(set(shown[k : k + 40].tolist())) == 8 for k in range(0, 200, 40))
        assert len(set(shown[:20].tolist())) > 4, "within a window they are mixed"
        orders.append(order.places.tolist())
    assert len({str(order) for order in orders}) == 3
    assert len({tuple(sorted(order[:40])) for order in orders}) == 3, "other shards come first"


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "gzip": (lambda root: write(root / "a.tar.gz", GOOD), "unpack it"),
    "no tar": (lambda root: (root / "a.tar").write_bytes(b"text" * 1000), "is no tar file"),
    "nothing": (lambda root: None, "no .tar files"),
    "empty": (lambda root: write(root / "a.tar", []), "no images"),
    "no label": (
        lambda root: write(root / "a.tar", [*GOOD, ("x", {"png": png(1)})]),
        "sample x of",
    ),
    "twice": (lambda root: write(root / "a.tar", [*GOOD, GOOD[3]]), "two samples"),
    "one class": (lambda root: write(root / "a.tar", GOOD[::2]), "only one class"),
    "bad json": (
        lambda root: write(root / "a.tar", [("x", {"png": png(1), "json": b"{"})]),
        "x.json",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_used_is_said(tmp_path: Path, bad: str) -> None:
    making, words = BAD[bad]
    making(tmp_path)
    message = refused(Path(f"wds:{tmp_path}"))
    assert words in message
    assert str(tmp_path) in message


def test_links_in_a_shard_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", GOOD)
    with tarfile.open(path, "a") as file:
        link = tarfile.TarInfo("x.png")
        link.type, link.linkname = tarfile.LNKTYPE, "1.png"
        file.addfile(link)
    assert "x.png" in refused(Path(f"wds:{tmp_path}"))
    assert "is a link" in refused(Path(f"wds:{tmp_path}"))


def test_a_damaged_header_in_the_middle_is_an_error_and_not_an_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", GOOD)
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as file:
        content[file.getmembers()[8].offset + 5] ^= 1
    path.write_bytes(content)
    assert "is damaged" in refused(Path(f"wds:{tmp_path}"))


@pytest.mark.parametrize("place", ["https://host/a.tar", "pipe:cat a.tar", "s3://bucket/a.tar"])
def test_what_is_not_local_is_refused_with_the_reason(place: str) -> None:
    from vertebra.core import VertebraError

    with pytest.raises(VertebraError, match=r"no position .* copy the shards"):
        open_dataset(f"wds:{place}")


@pytest.mark.parametrize(
    "pattern",
    [
        "a-{000..012}.tar",
        "{train,val}-{0..2}.tar",
        "a.tar",
        "{9..11}",
        "{08..10}",
        "{3..1}",
        "x{a}",
    ],
)
def test_braces_are_expanded_as_by_the_package(pattern: str) -> None:
    import braceexpand

    assert expand_braces(pattern) == list(braceexpand.braceexpand(pattern))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    shards(tmp_path)
    message = refused(Path(f"wds:{tmp_path}/{{000..004}}.tar"))
    assert message == f"no such shard: {tmp_path / '004.tar'}"
