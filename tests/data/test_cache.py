"""Decoded images kept: the same pixels, within the limit, whoever asks."""

import multiprocessing
import os
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered import equal, whole_batches
from torch import Tensor

from vertebra.core import Preprocessing, VertebraError
from vertebra.data import open_dataset
from vertebra.data.cache import Cache, NoCache, RamCache, open_cache
from vertebra.data.disk_cache import DiskCache
from vertebra.machine import describe
from vertebra.runs.recipe import AugmentSection

SMALL = Preprocessing(size=16, resize=18, mean=(0.5,) * 3, std=(0.25,) * 3)
CUT = AugmentSection(crop="pad", padding=4, flip=True)
MAKERS = ["ram", "disk"]


class Decoder:
    """Counts how often it is asked; an image of 12 bytes."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return torch.full((3, 2, 2), self.calls % 256, dtype=torch.uint8)


def made(kind: str, folder: Path, limit: int | None, key: str = "", name: str = "set") -> Cache:
    where = folder / "cache"
    return open_cache(kind, limit, where, (name, lambda: key), count=1000, channels=3)


def explode() -> Tensor:
    raise AssertionError("asked to decode what is kept")


@pytest.mark.parametrize("kind", MAKERS)
def test_an_image_within_the_limit_is_decoded_once(tmp_path: Path, kind: str) -> None:
    cache, decoder = made(kind, tmp_path, 24), Decoder()
    first = cache.get(0, decoder)
    assert torch.equal(cache.get(0, decoder), first)
    assert decoder.calls == 1
    cache.get(999, decoder)
    assert decoder.calls == 2
    again = cache.get(999, explode)
    again.fill_(77)
    assert cache.get(999, explode).unique().tolist() == [2], "the caller's own"


@pytest.mark.parametrize("kind", MAKERS)
def test_beyond_the_limit_everything_is_decoded_anew(tmp_path: Path, kind: str) -> None:
    cache, decoder = made(kind, tmp_path, 23), Decoder()
    cache.get(0, decoder)
    for _ in range(3):
        cache.get(1, decoder)
    assert decoder.calls == 4
    cache.get(0, explode)


@pytest.mark.parametrize("kind", MAKERS)
def test_several_threads_keep_what_is_right_and_within_the_limit(tmp_path: Path, kind: str) -> None:
    cache = made(kind, tmp_path, 12 * 40)

    def small(index: int) -> Tensor:
        return torch.full((3, 2, 2), index, dtype=torch.uint8)

    with ThreadPoolExecutor(8) as pool:
        indices = [index % 100 for index in range(2000)]
        images = pool.map(lambda index: cache.get(index, lambda: small(index)), indices)
        assert all(torch.equal(i, small(k)) for k, i in zip(indices, images, strict=True))
    again, decoder = 0, Decoder()
    for index in range(100):
        cache.get(index, decoder)
        again = decoder.calls
    # Two threads that decode the same image at once may both keep it.
    assert 60 <= again < 100


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_an_image_comes_back_in_the_layout_that_it_had(
    tmp_path: Path, kind: str, channels_last: bool
) -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    image = pixels.permute(2, 0, 1)
    image = image if channels_last else image.contiguous()
    cache = made(kind, tmp_path, None)
    cache.get(3, lambda: image)
    kept = cache.get(3, explode)
    assert torch.equal(kept, image)
    assert kept.stride() == image.stride()
    # What is neither is not kept, rather than kept otherwise.
    odd = image.flip(0)[:, ::2, :]
    for _ in range(2):
        found = cache.get(4, lambda: odd)
        assert found.stride() == odd.stride()


@pytest.mark.parametrize("kind", MAKERS)
def test_what_a_forked_process_decodes_all_find(tmp_path: Path, kind: str) -> None:
    cache, decoder = made(kind, tmp_path, None), Decoder()
    cache.get(0, decoder)
    child = os.fork()
    if child == 0:  # asserts would not be heard here
        cache.get(0, decoder)
        cache.get(1, decoder)
        os._exit(0 if decoder.calls == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache.get(1, explode).unique().tolist() == [2]


def test_the_default_is_a_gibibyte_or_an_eighth_of_the_memory(tmp_path: Path) -> None:
    cache = made("ram", tmp_path, None)
    assert isinstance(cache, RamCache)
    assert cache.limit == min(2**30, describe().memory // 8)
    assert isinstance(made("ram", tmp_path, 0), NoCache)


def test_a_copy_for_another_process_keeps_nothing_in_memory_but_finds_the_disk(
    tmp_path: Path,
) -> None:
    for kind in MAKERS:
        cache = made(kind, tmp_path, 100)
        cache.get(0, Decoder())
        copy, decoder = pickle.loads(pickle.dumps(cache)), Decoder()
        copy.get(0, decoder)
        assert decoder.calls == (kind == "ram")


def test_keeping_images_changes_no_number(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root: Path = make_folder(each=20)
    options = [
        {"cache": "none"},
        {"cache": "ram"},
        {"cache_gib": 5000 / 2**30},
        {"cache": "disk", "cache_folder": tmp_path / "kept"},
        {"cache": "disk", "cache_folder": tmp_path / "kept"},
    ]
    for workers in (0, 2):
        batches = []
        for option in options:
            split = open_dataset(root, **option).train  # type: ignore[arg-type]
            view = whole_batches(split, SMALL, CUT, 7, 0, workers)
            batches.append([batch for epoch in range(3) for batch in view(epoch)])
        for others in batches[1:]:
            assert equal(batches[0], others)


def test_workers_decode_each_file_once(make_folder: Callable[..., Path]) -> None:
    root: Path = make_folder(each=20)
    split = open_dataset(root).train
    view = whole_batches(split, SMALL, CUT, 7, 0, 2)
    first = list(view(0))
    for file in root.rglob("*.jpg"):
        file.write_bytes(b"")
    seen = {place for batch in first for place in batch.places.tolist()}
    later = list(view(1))
    asked = {place for batch in later for place in batch.places.tolist()}
    assert {entry.id for batch in later for entry in batch.broken} <= {
        split.id(place) for place in asked - seen
    }


# On disk


def test_a_later_run_finds_what_an_earlier_one_decoded(tmp_path: Path) -> None:
    made("disk", tmp_path, None, "a").get(5, Decoder())
    made("disk", tmp_path, None, "a", name="other set").get(5, Decoder())
    assert made("disk", tmp_path, None, "a").get(5, explode).unique().tolist() == [1]
    changed, decoder = made("disk", tmp_path, None, "b"), Decoder()
    changed.get(5, decoder)
    assert decoder.calls == 1
    assert len(list((tmp_path / "cache").iterdir())) == 2, "the old state is removed"
    made("disk", tmp_path, None, "a", name="other set").get(5, explode)


def test_a_file_that_is_written_anew_is_decoded_anew(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    root: Path = make_folder(each=20)
    before = open_dataset(root, cache="disk", cache_folder=tmp_path / "kept").train
    old = before.read(0)
    path, other = root / before.id(0), root / before.id(len(before) - 1)
    content = other.read_bytes()
    path.write_bytes(content + b"\0" * (path.stat().st_size - len(content)))
    os.utime(path, ns=(5, 5))
    after = open_dataset(root, cache="disk", cache_folder=tmp_path / "kept").train
    assert not torch.equal(after.read(0), old)


@pytest.mark.parametrize(
    "name", ["vertebra", "PIL", "torchvision", "vertebra.data.jpeg.simplejpeg", None]
)
def test_what_another_version_decoded_is_decoded_anew(
    make_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str | None,
) -> None:
    root: Path = make_folder(each=20)
    open_dataset(root, cache="disk", cache_folder=tmp_path / "kept").train.read(0)
    decoder = Decoder()
    monkeypatch.setattr("vertebra.data.sources.files.decode", lambda *_: decoder())
    if name is not None:
        monkeypatch.setattr(f"{name}.__version__", "99.9")
    open_dataset(root, cache="disk", cache_folder=tmp_path / "kept").train.read(0)
    assert decoder.calls == (name is not None)


@pytest.mark.parametrize("what", ["pixels.bin", "index.bin"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "zeroed"])
def test_what_is_damaged_is_never_shown(tmp_path: Path, what: str, damage: str) -> None:
    def noise(index: int) -> Tensor:
        drawn = np.random.default_rng(index).integers(0, 256, (3, 9, 9), dtype=np.uint8)
        return torch.from_numpy(drawn)

    cache = made("disk", tmp_path, None)
    for index in range(20):
        cache.get(index, lambda index=index: noise(index))  # type: ignore[misc]
    assert isinstance(cache, DiskCache)
    path = cache.folder / what
    content = bytearray(path.read_bytes())
    used = 20 * 32 if what == "index.bin" else len(content)
    for place in range(0, used, 50):
        content[place] = content[place] ^ 1 if damage == "flipped" else 0
    path.write_bytes(content[: used // 2] if damage == "cut" else content)
    again, decoded = made("disk", tmp_path, None), []

    def decode(index: int) -> Tensor:
        decoded.append(index)
        return noise(index)

    for _ in range(2):
        for index in range(20):
            found = again.get(index, lambda index=index: decode(index))  # type: ignore[misc]
            assert torch.equal(found, noise(index))
    assert decoded
    assert len(set(decoded)) == len(decoded), "what was damaged is kept anew"


def shade(index: int) -> Tensor:
    return torch.full((3, 2 + index % 5, 40), index % 256, dtype=torch.uint8)


def linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open the gaps in which another process or thread could come between."""
    size_of, write_at = os.fstat, os.pwrite

    def fstat(file: int) -> os.stat_result:
        found = size_of(file)
        time.sleep(0.001)
        return found

    def pwrite(file: int, content: bytes, offset: int) -> int:
        time.sleep(0.001)
        return write_at(file, content, offset)

    monkeypatch.setattr("vertebra.data.disk_cache.os.fstat", fstat)
    monkeypatch.setattr("vertebra.data.disk_cache.os.pwrite", pwrite)


def test_several_threads_write_in_places_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linger(monkeypatch)
    cache = made("disk", tmp_path, None)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: cache.get(index, lambda: shade(index)), range(200)))
    for index in range(200):
        assert torch.equal(cache.get(index, explode), shade(index))


def fill_in(folder: Path, seed: int) -> None:
    cache = made("disk", folder, None)
    for index in np.random.default_rng(seed).permutation(300).tolist():
        found = cache.get(index, lambda index=index: shade(index))  # type: ignore[misc]
        assert torch.equal(found, shade(index))


def test_several_processes_fill_one_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linger(monkeypatch)
    context = multiprocessing.get_context("fork")
    fillers = [context.Process(target=fill_in, args=(tmp_path, seed)) for seed in range(4)]
    for filler in fillers:
        filler.start()
    for filler in fillers:
        filler.join()
    assert [filler.exitcode for filler in fillers] == [0] * 4
    cache = made("disk", tmp_path, None)
    for index in range(300):
        assert torch.equal(cache.get(index, explode), shade(index))


def test_what_is_asked_wrongly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VertebraError, match="did you mean disk"):
        made("dis", tmp_path, None)
    with pytest.raises(VertebraError, match="needs a folder"):
        open_cache("disk", None, None, ("set", str), count=1, channels=3)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(VertebraError, match="no cache can be kept"):
        made("disk", tmp_path, None)
