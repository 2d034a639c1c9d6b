"""Decoded images in files, which several processes fill at once and later runs find again.

Two files: the pixels, which are only appended to, and an index of one record an image. An image's
bytes are written before its record, and the record holds checksums of both: after a kill or a power
cut an image is there as a whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vertebra.core import Notice, write_json
from vertebra.data.kept_layout import layout_of, strided

# Offset, height, width, layout, checksum of the pixels; then the checksum of the record itself.
_RECORD = struct.Struct("<QIIII")
_RECORD_BYTES = 32
_VERSION = 1


class DiskCache:
    """Images of one source and number of channels in ``folder``; ``limit`` bytes of pixels at most.

    Read by position and not mapped into memory: a map of a file that somebody cuts short ends the
    process. The pixels of an image are checked the first time that a process reads them.
    """

    def __init__(self, folder: Path, limit: int, count: int, channels: int) -> None:
        self.folder, self.limit, self.count, self.channels = folder, limit, count, channels
        self._pixels = _open(folder / "pixels.bin")
        self._index = _open(folder / "index.bin")
        self._lock_file = _open(folder / "lock")
        self._checked = np.zeros(count, dtype=np.bool_)
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._full = False

    @classmethod
    def under(
        cls, folder: Path, name: str, key: str, limit: int, count: int, channels: int
    ) -> DiskCache:
        """The cache of the source ``name`` in the state ``key``; removes those of other states."""
        about = {"version": _VERSION, "source": name, "channels": channels}
        digest = hashlib.sha256(f"{json.dumps(about)}\0{count}\0{key}".encode()).hexdigest()[:32]
        own = folder / digest
        for other in folder.iterdir():
            if other != own and _about(other) == about:
                shutil.rmtree(other, ignore_errors=True)
        own.mkdir(exist_ok=True)
        if _about(own) != about:
            write_json(own / "about.json", about)
        return cls(own, limit, count, channels)

    def get(self, index: int, decode: Callable[[], Tensor]) -> Tensor:
        """The image, uint8 (C, H, W), the caller's own: the kept one or what ``decode`` gives."""
        image = self._find(index)
        if image is None:
            image = decode()
            self._keep(index, image)
        return image

    def _find(self, index: int) -> Tensor | None:
        record = os.pread(self._index, _RECORD.size + 4, index * _RECORD_BYTES)
        if len(record) < _RECORD.size + 4 or not any(record):
            return None
        fields, checksum = record[:-4], int.from_bytes(record[-4:], "little")
        if zlib.crc32(fields, index) != checksum:
            return None
        offset, height, width, layout, checksum = _RECORD.unpack(fields)
        flat = np.empty(self.channels * height * width, dtype=np.uint8)
        if not _read_all(self._pixels, flat, offset):
            return None
        if not self._checked[index]:
            if zlib.crc32(flat.data) != checksum:
                return None
            self._checked[index] = True
        return strided(torch.from_numpy(flat), self.channels, height, width, layout)

    def _keep(self, index: int, image: Tensor) -> None:
        layout, pixels = layout_of(image)
        if pixels is None or self._full:
            return
        try:
            offset = self._append(pixels)
            if offset is not None:
                shape = image.shape[1], image.shape[2]
                fields = _RECORD.pack(offset, *shape, layout, zlib.crc32(pixels.data))
                record = fields + zlib.crc32(fields, index).to_bytes(4, "little")
                os.pwrite(self._index, record, index * _RECORD_BYTES)
        except OSError as error:
            self._full = True
            said = f"no more images are kept in {self.folder}: {error.strerror}"
            warnings.warn(said, Notice, stacklevel=4)

    def _append(self, pixels: NDArray[np.uint8]) -> int | None:
        """Write at the end of the pixels; the offset, or None if the limit leaves no room."""
        if self._owner != os.getpid():  # forked: the lock may be held by a thread left behind
            self._owner, self._lock = os.getpid(), threading.Lock()
        # The lock of a file is the process's own, so that threads need one too.
        with self._lock:
            fcntl.lockf(self._lock_file, fcntl.LOCK_EX)
            try:
                offset = os.fstat(self._pixels).st_size
                if offset + len(pixels) > self.limit:
                    self._full = True
                    return None
                # The room is taken at once; writing it needs no lock.
                os.ftruncate(self._pixels, offset + len(pixels))
            finally:
                fcntl.lockf(self._lock_file, fcntl.LOCK_UN)
        written, view = 0, pixels.data
        while written < len(view):
            written += os.pwrite(self._pixels, view[written:], offset + written)
        return offset

    def __reduce__(self) -> tuple[type[DiskCache], tuple[Path, int, int, int]]:
        return type(self), (self.folder, self.limit, self.count, self.channels)

    def __del__(self) -> None:
        for name in ("_pixels", "_index", "_lock_file"):
            if hasattr(self, name):
                os.close(getattr(self, name))


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _about(folder: Path) -> object:
    try:
        return json.loads((folder / "about.json").read_text())
    except (OSError, ValueError):
        return None


def _read_all(file: int, into: NDArray[np.uint8], offset: int) -> bool:
    """Fill ``into`` from ``offset`` on; False if the file ends before."""
    view, done = into.data, 0
    while done < len(view):
        got = os.preadv(file, [view[done:]], offset + done)
        if got == 0:
            return False
        done += got
    return True
