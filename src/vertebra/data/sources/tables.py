"""Tables of images in text or in Parquet, a block of rows at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vertebra.core import VertebraError, nearest

NEEDED, OPTIONAL = ("path", "label"), ("split", "group")
# Rows that are Python objects at a time.
_BLOCK = 16384
Column = Sequence[object]


class Rows(NamedTuple):
    """Some rows: values by the name of their column; ``first`` is the number of the first one."""

    first: int
    columns: dict[str, Column]


def table_rows(path: Path) -> Iterator[Rows]:
    """The rows of a table with the columns that there are of ``NEEDED`` and ``OPTIONAL``.

    In text a row's number is as an editor counts lines, with the header as 1; in Parquet from 1.

    Raises:
        VertebraError: a needed column is missing, a row is too short, or it is no such table.
        OSError: the file cannot be read.
    """
    return _parquet_rows(path) if path.suffix.lower() == ".parquet" else _text_rows(path)


def _text_rows(path: Path) -> Iterator[Rows]:
    tabs = path.suffix.lower() == ".tsv"
    # A byte order mark, as spreadsheets write it, is no part of the first column's name.
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter="\t" if tabs else ",")
        try:
            yield from _blocks(path, reader)
        except UnicodeDecodeError:
            raise VertebraError(f"{path} is not text in UTF-8") from None
        except csv.Error as error:
            raise VertebraError(f"{path}, line {reader.line_num}: {error}") from None


def _blocks(path: Path, reader: Iterator[list[str]]) -> Iterator[Rows]:
    header = next(reader, None)
    if header is None:
        raise VertebraError(f"{path} is empty; expected a first line with {' and '.join(NEEDED)}")
    places = _columns(path, [name.strip().lower() for name in header])
    rows: list[list[str]] = []
    number = first = 2  # the header is row 1
    for row in reader:
        if row and len(row) <= max(places.values()):
            raise VertebraError(
                f"row {number} of {path} has {len(row)} columns; expected {len(header)}"
            )
        # An empty line keeps its number, so that rows are counted as an editor does.
        if row:
            rows.append(row)
        if not row or len(rows) == _BLOCK:
            if rows:
                yield _of_rows(first, rows, places)
            rows, first = [], number + 1
        number += 1
    if rows:
        yield _of_rows(first, rows, places)


def _of_rows(first: int, rows: list[list[str]], places: dict[str, int]) -> Rows:
    return Rows(first, {name: [row[at] for row in rows] for name, at in places.items()})


def _columns(path: Path, names: Sequence[str]) -> dict[str, int]:
    """Where the columns stand that are used.

    Raises:
        VertebraError: one that is needed is missing.
    """
    for name in NEEDED:
        if name not in names:
            guess = nearest(name, names)
            hint = f"; did you mean {guess}?" if guess else f"; it has {', '.join(names)}"
            raise VertebraError(f"{path} has no column '{name}'{hint}")
    return {name: names.index(name) for name in (*NEEDED, *OPTIONAL) if name in names}


def _parquet_rows(path: Path) -> Iterator[Rows]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise VertebraError(
            f"to read {path} takes pyarrow: pip install 'vertebra[hf]', or write it as CSV"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            places = _columns(path, [name.strip().lower() for name in names])
            own = {name: names[at] for name, at in places.items()}
            first = 1
            for batch in file.iter_batches(_BLOCK, columns=list(own.values())):
                columns = {name: batch.column(column).to_pylist() for name, column in own.items()}
                yield Rows(first, columns)
                first += batch.num_rows
    except pyarrow.ArrowInvalid as error:
        raise VertebraError(f"{path} is no Parquet file: {str(error).splitlines()[0]}") from None
