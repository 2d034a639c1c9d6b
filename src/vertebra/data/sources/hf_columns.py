"""Which column of a table holds the images, which the labels, and what these are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vertebra.core import VertebraError, unknown
from vertebra.data.sources.codes import Codes, sorted_classes

_IMAGE_NAMES = ("image", "img")
_LABEL_NAMES = ("label", "labels", "class", "fine_label")
# Rows whose labels are Python objects at a time.
_BLOCK = 65536


@dataclass(frozen=True)
class Columns:
    """Names of the columns of images, labels and groups; ``names`` are those of a ClassLabel."""

    image: str
    label: str
    group: str | None
    names: tuple[str, ...] | None

    def images(self, table: Any) -> Any:
        """A table of nothing but the images, which are not to be decoded."""
        import datasets

        own = table.select_columns([self.image]).with_format(None)
        return own.cast_column(self.image, datasets.Image(decode=False))


@dataclass(frozen=True)
class Labelled:
    """What the tables say of the rows that have a label: ``rows`` by split, the rest (N,)."""

    rows: dict[str, NDArray[np.int64]]
    labels: NDArray[np.int64]
    groups: NDArray[np.int32] | None
    group_words: list[str]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def find_columns(tables: Mapping[str, Any], options: Mapping[str, str], name: str) -> Columns:
    """The columns that ``options`` name, or else those that types and names tell.

    Raises:
        VertebraError: there is no such column, or more than one; or the splits have others.
    """
    features = next(iter(tables.values())).features
    for split, table in tables.items():
        if table.features.type != features.type:
            raise VertebraError(f"{name}: the columns of '{split}' are not those of other splits")
    image = _named(features, options, "image", name) or _image_column(features, name)
    label = _named(features, options, "label", name) or _label_column(features, name)
    group = _named(features, options, "group", name)
    names = getattr(features[label], "names", None)
    return Columns(image, label, group, None if names is None else tuple(names))


def _named(features: Any, options: Mapping[str, str], option: str, name: str) -> str | None:
    column = options.get(option)
    if column is not None and column not in features:
        raise unknown(f"column of {name}", column, features)
    return column


def _image_column(features: Any, name: str) -> str:
    found = [column for column, kind in features.items() if type(kind).__name__ == "Image"]
    # Files that were written without the library's own notes have no such type.
    found = found or [column for column in _IMAGE_NAMES if column in features]
    return _only(found, "image", features, name)


def _label_column(features: Any, name: str) -> str:
    found = [column for column, kind in features.items() if hasattr(kind, "names")]
    found = found or [column for column in _LABEL_NAMES if column in features][:1]
    return _only(found, "label", features, name)


def _only(found: list[str], kind: str, features: Any, name: str) -> str:
    if len(found) == 1:
        return found[0]
    what = f"several {kind} columns" if found else f"no {kind} column"
    raise VertebraError(
        f"{name} has {what} among {', '.join(found or features)}; name it with ?{kind}=COLUMN"
    )


def read_labels(tables: Mapping[str, Any], columns: Columns, name: str) -> Labelled:
    """Labels and groups of all rows; those without a label (None, or -1 of a ClassLabel) are left.

    Raises:
        VertebraError: a label is neither an integer nor a string, or a row has no group.
    """
    rows, words, groups, missing = {}, Codes(), Codes(), {}
    for split, table in tables.items():
        kept = []
        for first, values, some in _blocks(table, columns):
            there = [at for at, value in enumerate(values) if _is_label(value, columns, name)]
            words.add(str(values[at]) for at in there)
            if columns.group is not None:
                if any(some[at] is None for at in there):
                    raise VertebraError(f"a row of '{split}' in {name} has no {columns.group}")
                groups.add(str(some[at]) for at in there)
            kept.append(first + np.array(there, dtype=np.int64))
        rows[split] = np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)
        if len(rows[split]) < len(table):
            missing[split] = len(table) - len(rows[split])
    if columns.names is None:
        classes = sorted_classes(words.words)
        labels = words.labels(classes)
    else:
        classes = columns.names
        codes = np.array([int(word) for word in words.words], dtype=np.int64)
        labels = codes[words.numbers()]
    notes = tuple(
        f"passed over {count} images of '{split}' without a label"
        for split, count in missing.items()
    )
    own = groups.numbers() if columns.group is not None else None
    there_are = {split: kept for split, kept in rows.items() if len(kept)}
    return Labelled(there_are, labels, own, groups.words, classes, notes)


def image_sizes(table: Any, column: str) -> NDArray[np.int64]:
    """Bytes of each row's image, -1 where the table does not hold them; reads no image."""
    from pyarrow import compute

    content = compute.struct_field(table.data.column(column), "bytes")
    sizes: NDArray[np.int64]
    sizes = compute.fill_null(compute.binary_length(content), -1).to_numpy().astype(np.int64)
    if table._indices is not None:  # rows that were selected or shuffled
        sizes = sizes[table._indices.column(0).to_numpy()]
    return sizes


def _blocks(table: Any, columns: Columns) -> Iterator[tuple[int, list[Any], list[Any]]]:
    wanted = [columns.label, *([columns.group] if columns.group else [])]
    own = table.select_columns(wanted).with_format(None)
    for first in range(0, len(own), _BLOCK):
        block = own[first : first + _BLOCK]
        yield first, block[columns.label], block[wanted[-1]]


def _is_label(label: object, columns: Columns, name: str) -> bool:
    if label is None or (columns.names is not None and label == -1):
        return False
    if isinstance(label, bool) or not isinstance(label, int | str):
        raise VertebraError(
            f"labels of {name} in '{columns.label}' are {type(label).__name__}; expected integers "
            "or strings"
        )
    return True
