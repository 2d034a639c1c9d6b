"""What the sources share whose every image is a file of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass

from torch import Tensor

from vertebra.data.decode import decode
from vertebra.data.sources.source import Listing


@dataclass(frozen=True, eq=False, kw_only=True)
class FileListing(Listing):
    """Images in files; ``ids`` are their paths, relative to ``root`` or absolute."""

    root: str

    def path(self, index: int) -> str:
        """Where image ``index`` lies."""
        return os.path.join(self.root, self.ids[index])  # noqa: PTH118 - Path is ten times slower

    def read(self, index: int, channels: int) -> Tensor:
        """Image ``index`` as uint8 (channels, H, W).

        Raises:
            DecodeError: the file is missing or cannot be decoded.
        """
        return decode(self.path(index), channels)

    def encoded(self, index: int) -> bytes | None:
        """The file's bytes; None where it cannot be read."""
        try:
            with open(self.path(index), "rb") as file:  # noqa: PTH123 - as above
                return file.read()
        except OSError:
            return None

    def place(self, index: int) -> str:
        """The path of its file."""
        return os.path.normpath(self.path(index))

    def stamp(self, index: int) -> str:
        """Its name and its size in bytes."""
        name = self.ids[index]
        try:
            size = os.stat(os.path.join(self.root, name)).st_size  # noqa: PTH116, PTH118 - as above
        except OSError:  # listed, but a link to nothing
            return f"{name}\0missing"
        return f"{name}\0{size}"

    def version(self, index: int) -> str:
        """Its name, its size and when it was written, in nanoseconds."""
        name = self.ids[index]
        try:
            status = os.stat(os.path.join(self.root, name))  # noqa: PTH116, PTH118 - as above
        except OSError:
            return f"{name}\0missing"
        return f"{name}\0{status.st_size}\0{status.st_mtime_ns}"
