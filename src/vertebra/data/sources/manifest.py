"""Images that a table lists: CSV, TSV or Parquet, one row an image."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vertebra.core import VertebraError, unknown
from vertebra.data.sources.codes import Codes, sorted_classes
from vertebra.data.sources.files import FileListing
from vertebra.data.sources.names import NameBuilder, PackedNames
from vertebra.data.sources.source import (
    SPLIT_NAMES,
    SPLITS,
    check_classes,
    check_groups,
    refuse_unlistable,
    split_code,
    trained_labels,
)
from vertebra.data.sources.tables import Rows, table_rows


@dataclass(frozen=True, eq=False, kw_only=True)
class ManifestSource(FileListing):
    """Images by a table's rows. ``ids`` are paths from the table's folder, sorted."""


def open_manifest(path: Path, *, training: bool = True) -> ManifestSource:
    """Read a table with the columns ``path`` and ``label``, and perhaps ``split`` and ``group``.

    Paths are relative to the table's folder, or absolute; whether the files are there is not
    looked up. Labels are names: their order as strings decides the numbers, or their order as
    numbers where all are integers. A split is train, val, valid, validation or test.

    Raises:
        VertebraError: a column is missing; a path, label or split is empty; a split is unknown; a
            path is listed twice with different labels, splits or groups; a group is in two splits;
            there are no rows; or a class has no images to train on.
    """
    if not path.exists():
        raise VertebraError(f"no such file or folder: {path}")
    table = _Table(path)
    try:
        for rows in table_rows(path):
            table.add(rows)
    except OSError as error:
        refuse_unlistable(error)
    return table.source(training)


class _Table:
    """The rows so far, packed."""

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, path.resolve().parent
        self.names = NameBuilder()
        self.labels, self.groups = Codes(), Codes()
        self.splits = array("b")
        self.unsplit: int | None = None

    def add(self, rows: Rows) -> None:
        self.names.add(self._named(name) for name in self._words(rows, "path"))
        self.labels.add(self._words(rows, "label"))
        if "group" in rows.columns:
            self.groups.add(self._words(rows, "group"))
        if "split" in rows.columns:
            self.splits.extend(self._split_codes(rows))

    def _words(self, rows: Rows, column: str) -> list[str]:
        values = rows.columns[column]
        words = ["" if value is None else str(value).strip() for value in values]
        if "" in words:
            row = rows.first + words.index("")
            raise VertebraError(f"row {row} of {self.path} has no {column}")
        return words

    def _named(self, text: str) -> str:
        """A path as an id: from the table's folder where it lies below it, written in one way."""
        name = os.path.normpath(text)
        if os.path.isabs(name):  # noqa: PTH117 - a million Path objects are slow
            inside = os.path.relpath(name, self.folder)
            return name if inside.startswith("..") else inside
        return name

    def _split_codes(self, rows: Rows) -> list[int]:
        codes = []
        for row, value in enumerate(rows.columns["split"], start=rows.first):
            word = "" if value is None else str(value).strip()
            code = split_code(word) if word else -1
            if code is None:
                raise VertebraError(
                    f"row {row} of {self.path}: {unknown('split', word, SPLIT_NAMES)}"
                )
            if code < 0 and self.unsplit is None:
                self.unsplit = row
            codes.append(code)
        return codes

    def source(self, training: bool) -> ManifestSource:
        if not len(self.names):
            raise VertebraError(f"{self.path} has no rows; expected one an image")
        packed = self.names.finish()
        order = packed.order()
        ids = packed.take(order)
        classes = sorted_classes(self.labels.words)
        labels, given, groups = self.labels.labels(classes)[order], self._given(), None
        given = None if given is None else given[order]
        if len(self.groups):
            groups = self.groups.numbers()[order]
        keep, notes = self._once(ids, labels, given, groups, classes)
        labels = labels[keep]
        given = None if given is None else given[keep]
        groups = None if groups is None else groups[keep]
        check_groups(groups, given, self.groups.words, self.path)
        if training:
            check_classes(classes, trained_labels(labels, given), self.path)
        return ManifestSource(
            name=str(self.path.resolve()),
            root=str(self.folder),
            ids=ids if len(keep) == len(ids) else ids.take(keep),
            labels=labels,
            classes=classes,
            given=given,
            groups=groups,
            notes=notes,
        )

    def _given(self) -> NDArray[np.int8] | None:
        codes = np.frombuffer(self.splits, dtype=np.int8)
        if not (codes >= 0).any():
            return None
        if self.unsplit is not None:
            raise VertebraError(f"row {self.unsplit} of {self.path} has no split; others have one")
        return codes

    def _once(
        self,
        ids: PackedNames,
        labels: NDArray[np.int64],
        given: NDArray[np.int8] | None,
        groups: NDArray[np.int32] | None,
        classes: tuple[str, ...],
    ) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Where each path stands first, and a note if some stand again.

        Raises:
            VertebraError: a path is listed twice and not with the same words.
        """
        repeats = ids.repeats()
        again = np.flatnonzero(repeats)
        for kind, values, words in (
            ("label", labels, classes),
            ("split", given, SPLITS),
            ("group", groups, tuple(self.groups.words)),
        ):
            if values is None:
                continue
            differing = again[values[again] != values[again - 1]]
            if len(differing):
                place = int(differing[0])
                one, other = (words[int(values[at])] for at in (place - 1, place))
                raise VertebraError(
                    f"{self.path} lists {ids[place]} twice, with the {kind}s {one} and {other}"
                )
        note = f"{len(again)} rows list a path again and count once"
        return np.flatnonzero(~repeats), (note,) if len(again) else ()
