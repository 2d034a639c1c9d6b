"""Decoded images kept for the next epoch, in memory or on disk: the same pixels, sooner."""

from __future__ import annotations

import mmap
import multiprocessing
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from vertebra.core import Notice, VertebraError, unknown
from vertebra.data.disk_cache import DiskCache
from vertebra.data.kept_layout import layout_of, strided
from vertebra.machine import describe

KINDS = ("none", "ram", "disk")
Decode = Callable[[], Tensor]
_ENTRY = np.dtype([("offset", "<i8"), ("height", "<i4"), ("width", "<i4"), ("layout", "<i8")])


class Cache(Protocol):
    """Images by their index in the source, of one number of channels."""

    def get(self, index: int, decode: Decode) -> Tensor:
        """The image, uint8 (C, H, W), the caller's own: a kept one or what ``decode`` gives."""


class NoCache:
    """Keeps nothing."""

    def get(self, index: int, decode: Decode) -> Tensor:
        """What ``decode`` gives."""
        return decode()


class RamCache:
    """What was decoded first stays, up to a limit; everything later is decoded each time.

    The memory is shared with the processes that are forked afterwards: what one worker decodes, all
    find. A copy that is sent to another process keeps nothing. Safe to use from several threads.
    """

    def __init__(self, limit: int, count: int, channels: int) -> None:
        self.limit, self.channels = limit, channels
        # Anonymous maps take memory as they are written to.
        self._pixels = mmap.mmap(-1, max(limit, 1))
        self._index = np.frombuffer(mmap.mmap(-1, max(count, 1) * _ENTRY.itemsize), dtype=_ENTRY)
        self._used = np.frombuffer(mmap.mmap(-1, 8), dtype=np.int64)
        # Of processes and threads; and on some machines an order of what is written in memory.
        self._lock = multiprocessing.get_context("fork").Lock()

    @property
    def size(self) -> int:
        """Bytes that are taken."""
        return int(self._used[0])

    def get(self, index: int, decode: Decode) -> Tensor:
        """As in :class:`Cache`."""
        with self._lock:
            offset, height, width, layout = self._index[index].item()
        if not height:
            image = decode()
            self._keep(index, image)
            return image
        count = self.channels * height * width
        flat = torch.frombuffer(self._pixels, dtype=torch.uint8, count=count, offset=offset)
        return strided(flat.clone(), self.channels, height, width, layout)

    def _keep(self, index: int, image: Tensor) -> None:
        layout, pixels = layout_of(image)
        if pixels is None or self.size + image.nbytes > self.limit:
            return
        with self._lock:
            offset = self.size
            if offset + image.nbytes > self.limit:
                return
            self._used[0] += image.nbytes
        self._pixels[offset : offset + image.nbytes] = pixels.data
        with self._lock:
            self._index[index] = (offset, image.shape[1], image.shape[2], layout)

    def __reduce__(self) -> tuple[type[NoCache], tuple[()]]:
        return NoCache, ()


def open_cache(
    kind: str,
    limit_bytes: int | None,
    folder: Path | None,
    key: tuple[str, Callable[[], str]],
    *,
    count: int,
    channels: int,
) -> Cache:
    """A place for decoded images.

    Args:
        kind: "none", "ram", or "disk": files in ``folder``, filled by whoever decodes, in several
            processes at once, and found again by later runs.
        limit_bytes: what it may take. None: in memory 1 GiB or an eighth of the machine's if that
            is less, on disk half of what is free.
        folder: of the disk cache.
        key: the name of the data, and what changes when their content does, asked for by the disk
            cache alone. What is there of the same name under another key is removed.
        count: how many images there are.
        channels: of every image.

    Raises:
        VertebraError: no such kind, or no folder for the disk cache, or it cannot be written to.
    """
    if kind not in KINDS:
        raise unknown("cache", kind, KINDS)
    if kind == "none" or limit_bytes == 0:
        return NoCache()
    if kind == "ram":
        return _in_memory(limit_bytes, count, channels)
    if folder is None:
        raise VertebraError("a cache on disk needs a folder, and none is given")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        limit = shutil.disk_usage(folder).free // 2 if limit_bytes is None else limit_bytes
        return DiskCache.under(folder, key[0], key[1](), limit, count, channels)
    except OSError as error:
        raise VertebraError(f"no cache can be kept in {folder}: {error.strerror}") from None


def _in_memory(limit: int | None, count: int, channels: int) -> Cache:
    if limit is None:
        limit = min(1 << 30, describe().memory // 8)
    try:
        return RamCache(limit, count, channels)
    except OSError as error:
        gib = limit / 2**30
        said = f"decoded images are not kept: {gib:.1f} GiB cannot be set aside ({error.strerror})"
        warnings.warn(said, Notice, stacklevel=3)
        return NoCache()
