"""Images of the Hugging Face ``datasets`` library: on the hub, or Parquet and Arrow files here.

The tables are memory-mapped and the images stay encoded until they are read, by our decoder and not
by the library's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vertebra.core import VertebraError, unknown
from vertebra.data.decode import DecodeError, decode_bytes
from vertebra.data.sources.hf_columns import Columns, find_columns, image_sizes, read_labels
from vertebra.data.sources.hf_load import load_tables
from vertebra.data.sources.names import NameBuilder
from vertebra.data.sources.source import (
    SPLITS,
    Listing,
    check_classes,
    check_groups,
    trained_labels,
)

_OPTIONS = ("image", "label", "group", "config", "revision")


@dataclass(frozen=True, eq=False, kw_only=True)
class HuggingFaceSource(Listing):
    """Rows of tables; ``ids`` are "SPLIT/ROW".

    ``tables`` hold nothing but the image column ``column``, undecoded; ``starts`` (tables,) is the
    index of each one's first row here, ``rows`` (N,) the row of each image in its table, and
    ``sizes`` (N,) its bytes, -1 where they are not in the table.
    """

    tables: tuple[Any, ...] = field(repr=False)
    column: str
    starts: NDArray[np.int64]
    rows: NDArray[np.int64] = field(repr=False)
    sizes: NDArray[np.int64] = field(repr=False)
    fingerprint: str

    def read(self, index: int, channels: int) -> Tensor:
        """Image ``index`` as uint8 (channels, H, W).

        Raises:
            DecodeError: it is missing or cannot be decoded.
        """
        content = self.encoded(index)
        if content is None:
            raise DecodeError(self.ids[index], "no such file")
        return decode_bytes(content, self.ids[index], channels)

    def encoded(self, index: int) -> bytes | None:
        """The image's bytes, from the table or the file that it names; None if there are none."""
        image = self._row(index)
        if image is None:
            return None
        content: bytes | None = image["bytes"]
        if content is None and image["path"]:
            try:
                content = Path(image["path"]).read_bytes()
            except OSError:
                return None
        return content

    def place(self, index: int) -> str:
        """Its name, which holds its row, and the library's fingerprint of the tables."""
        return f"{self.ids[index]}\0{self.fingerprint}"

    def stamp(self, index: int) -> str:
        """Its name and its size in bytes."""
        size = int(self.sizes[index])
        if size < 0:  # in a file of its own
            status = self._status(index)
            size = -1 if status is None else status.st_size
        return f"{self.ids[index]}\0{'missing' if size < 0 else size}"

    def version(self, index: int) -> str:
        """Its name, the fingerprint of the tables, and size and time of a file of its own.

        The fingerprint stays the same when a file is replaced that a table only names.
        """
        version = self.place(index)
        if self.sizes[index] >= 0:
            return version
        status = self._status(index)
        if status is None:
            return f"{version}\0missing"
        return f"{version}\0{status.st_size}\0{status.st_mtime_ns}"

    def _row(self, index: int) -> dict[str, Any] | None:
        """Bytes and path of an image as the table has them."""
        table = int(np.searchsorted(self.starts, index, side="right")) - 1
        image: dict[str, Any] | None = self.tables[table][int(self.rows[index])][self.column]
        return image

    def _status(self, index: int) -> os.stat_result | None:
        """Of the file that an image is alone in; None where there is none."""
        image = self._row(index)
        if image is None or not image["path"]:
            return None
        try:
            return Path(image["path"]).stat()
        except OSError:
            return None


def open_huggingface(text: str, *, training: bool = True) -> HuggingFaceSource:
    """Open "hf:PLACE", or "hf:PLACE?image=COLUMN&label=COLUMN&group=COLUMN&config=NAME".

    The place is a folder or file of Parquet or Arrow, also of ``save_to_disk``, or a name on the
    hub, of which ``revision=`` picks a state. The image column is the one of type Image, the label
    column the one of type ClassLabel or called label, labels, class or fine_label. The splits of
    the dataset are used; where all it has is "train", it has none. Rows without a label are passed
    over.

    Raises:
        VertebraError: the library is not installed, nothing is there, or a column is not clear; or
            a class has no images to train on.
    """
    place, _, query = text.removeprefix("hf:").partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for option in options:
        if option not in _OPTIONS:
            raise unknown(f"option of {text}", option, _OPTIONS)
    name, tables, notes = load_tables(place, options.get("config"), options.get("revision"))
    columns = find_columns(tables, options, name)
    return _source(f"hf:{name}{'?' * bool(query)}{query}", tables, columns, notes, training)


def _source(
    name: str,
    tables: Mapping[str, Any],
    columns: Columns,
    notes: tuple[str, ...],
    training: bool,
) -> HuggingFaceSource:
    names, rows, splits, counts = NameBuilder(), [], [], []
    labelled = read_labels(tables, columns, name)
    for split, kept in labelled.rows.items():
        names.add(map(str, kept.tolist()), f"{split}/")
        rows.append(kept)
        counts.append(len(kept))
        splits.append(SPLITS.index(split))
    if not len(names):
        raise VertebraError(f"no images with labels in {name}")
    given = None
    if list(tables) != ["train"]:
        given = np.repeat(np.array(splits, dtype=np.int8), counts)
    if training:
        check_classes(labelled.classes, trained_labels(labelled.labels, given), name)
    check_groups(labelled.groups, given, labelled.group_words, name)
    images = [columns.images(tables[split]) for split in labelled.rows]
    return HuggingFaceSource(
        name=name,
        ids=names.finish(),
        labels=labelled.labels,
        classes=labelled.classes,
        given=given,
        groups=labelled.groups,
        notes=(*notes, *labelled.notes),
        tables=tuple(images),
        sizes=np.concatenate(
            [
                image_sizes(table, columns.image)[kept]
                for table, kept in zip(images, rows, strict=True)
            ]
        ),
        column=columns.image,
        starts=np.cumsum([0, *counts[:-1]]),
        rows=np.concatenate(rows),
        fingerprint=" ".join(table._fingerprint for table in tables.values()),
    )
