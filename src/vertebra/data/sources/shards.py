"""WebDataset shards: tar files whose members ``KEY.jpg`` and ``KEY.cls`` are one sample.

The headers are walked once, and a sample is read by its position from then on. So order, resuming
and the parts of several processes are exact to the sample, which a stream cannot give. The format:
https://github.com/webdataset/webdataset.
"""

from __future__ import annotations

import functools
import os
from array import array
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vertebra.core import VertebraError
from vertebra.data.decode import DecodeError, decode_bytes
from vertebra.data.sources.codes import Codes
from vertebra.data.sources.names import NameBuilder
from vertebra.data.sources.shard_files import ShardFile, class_names, number_classes, shard_files
from vertebra.data.sources.shard_walk import Walked, walk
from vertebra.data.sources.source import Listing, check_classes, refuse_unlistable, trained_labels


@dataclass(frozen=True, eq=False, kw_only=True)
class ShardSource(Listing):
    """Samples in tar files; ``ids`` are "SHARD/KEY", in the order in which they lie there.

    ``paths`` of the shards, ``versions`` their sizes and times of writing; ``offsets`` and
    ``sizes`` (N,) of the images in bytes.
    """

    paths: tuple[str, ...]
    versions: tuple[str, ...]
    offsets: NDArray[np.int64] = field(repr=False)
    sizes: NDArray[np.int64] = field(repr=False)

    def read(self, index: int, channels: int) -> Tensor:
        """Image ``index`` as uint8 (channels, H, W).

        Raises:
            DecodeError: its bytes are not there any more or cannot be decoded.
        """
        content = self.encoded(index)
        if content is None:
            raise DecodeError(self.ids[index], "its shard has been cut short or removed")
        return decode_bytes(content, self.ids[index], channels)

    def encoded(self, index: int) -> bytes | None:
        """The member's bytes; None where the shard does not hold them any more."""
        size = int(self.sizes[index])
        number = self._shard(index)
        try:
            file = _opened(self.paths[number], self.versions[number])
            content = os.pread(file.fileno(), size, int(self.offsets[index]))
        except OSError:
            return None
        return content if len(content) == size else None

    def place(self, index: int) -> str:
        """The path of its shard, and from which byte on it lies there."""
        return f"{self.paths[self._shard(index)]}\0{self.offsets[index]}"

    def stamp(self, index: int) -> str:
        """Its name and its size in bytes."""
        return f"{self.ids[index]}\0{self.sizes[index]}"

    def version(self, index: int) -> str:
        """Its name, where it lies, and when its shard was written."""
        number = self._shard(index)
        return f"{self.stamp(index)}\0{self.offsets[index]}\0{self.versions[number]}"

    def _shard(self, index: int) -> int:
        assert self.shards is not None
        return int(self.shards[index])


# A file is closed when the last one who reads from it lets it go, so that threads may share them.
@functools.lru_cache(maxsize=128)
def _opened(path: str, _version: str) -> FileIO:
    return open(path, "rb", buffering=0)  # noqa: PTH123 - a file and not its content


def open_shards(text: str, *, training: bool = True) -> ShardSource:
    """Walk the shards that "wds:PATTERN" names.

    The pattern is a tar file, several (``train-{000000..000009}.tar``, ``{train,val}-0.tar``), or a
    folder, of which all ``*.tar`` are taken. A shard's split is told by its folder or the first
    word of its name (``train/``, ``val-``); all of them or none have one. A label is ``KEY.cls``,
    an integer or a name, or "label" in ``KEY.json``. Integers are numbers into ``classes.txt`` or
    ``classes.json`` where that lies beside the shards, else names like all others.

    Raises:
        VertebraError: there are no such shards; they are compressed or not local, so that samples
            have no position; one is no tar file; a sample has no label; two have one key; or a
            class has no images to train on.
    """
    pattern = os.path.expanduser(text.removeprefix("wds:"))  # noqa: PTH111 - braces are no path
    base, files = shard_files(pattern)
    listing = _Listing()
    for file in files:
        try:
            listing.add(file)
        except OSError as error:
            refuse_unlistable(error)
    return listing.source(text, base, files, training)


class _Listing:
    """The samples found so far."""

    def __init__(self) -> None:
        self.names = NameBuilder()
        self.labels = Codes()
        self.offsets, self.sizes = array("q"), array("q")
        self.counts: list[int] = []
        self.versions: list[str] = []
        self.notes: list[str] = []
        self.bare = 0

    def add(self, file: ShardFile) -> None:
        status = file.path.stat()
        self.versions.append(f"{status.st_size} {status.st_mtime_ns}")
        found = walk(file.path)
        try:
            self.names.add(found.keys, f"{file.name}/")
        except UnicodeEncodeError:
            raise VertebraError(f"{file.path} has keys that are not UTF-8; rename them") from None
        self.labels.add(found.labels)
        self.offsets.extend(found.offsets)
        self.sizes.extend(found.sizes)
        self.counts.append(len(found.keys))
        self.bare += found.bare
        if found.cut:
            self.notes.append(_cut(file.path, found))

    def source(self, text: str, base: Path, files: list[ShardFile], training: bool) -> ShardSource:
        if not len(self.names):
            raise VertebraError(f"no images in the {len(files)} shards of {text}")
        ids = self.names.finish()
        twice = ids.take(ids.order())
        if twice.repeats().any():
            name = twice[int(twice.repeats().argmax())]
            raise VertebraError(f"two samples of {text} are called {name}; expected keys of one")
        classes, words = number_classes(self.labels.words, class_names(base), text)
        labels = np.array(words, dtype=np.int64)[self.labels.numbers()]
        shards = np.repeat(np.arange(len(files), dtype=np.int32), self.counts)
        splits = [file.split for file in files]
        given = None
        if None not in splits:
            given = np.array(splits, dtype=np.int8)[shards]
        if training:
            check_classes(classes, trained_labels(labels, given), text)
        if self.bare:
            self.notes.append(f"passed over samples without an image: {self.bare}")
        return ShardSource(
            name=_absolute(text),
            ids=ids,
            labels=labels,
            classes=classes,
            given=given,
            shards=shards,
            notes=tuple(self.notes),
            paths=tuple(str(file.path) for file in files),
            versions=tuple(self.versions),
            offsets=np.frombuffer(self.offsets, dtype=np.int64),
            sizes=np.frombuffer(self.sizes, dtype=np.int64),
        )


def _absolute(text: str) -> str:
    pattern = os.path.expanduser(text.removeprefix("wds:"))  # noqa: PTH111 - braces are no path
    return f"wds:{os.path.abspath(pattern)}"  # noqa: PTH100 - as above


def _cut(path: Path, found: Walked) -> str:
    return f"{path.name} ends in the middle of a sample: {len(found.keys)} samples of it used"
