"""Tables of the ``datasets`` library, by their split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vertebra.core import VertebraError
from vertebra.data.sources.source import SPLITS, split_code

_SAVED = ("state.json", "dataset_dict.json")


def load_tables(
    place: str, config: str | None, revision: str | None
) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """The name of a dataset, its tables by split in the order of ``SPLITS``, and notes.

    Raises:
        VertebraError: the library is not installed, or nothing is there, or it cannot be read.
    """
    try:
        import datasets
    except ImportError:
        raise VertebraError(
            f"to open hf:{place} takes the datasets library: pip install 'vertebra[hf]'"
        ) from None
    path = Path(place).expanduser()  # shells expand no ~ after a colon
    # As a path it would say so: a name on the hub is one word or two.
    local = path.exists() or place.startswith(("/", "./", "../", "~")) or place.count("/") > 1
    if not local:
        found = _guarded(place, lambda: datasets.load_dataset(place, config, revision=revision))
        return place, *_splits(found, place)
    if not path.exists():
        raise VertebraError(f"no such file or folder: {path}")
    found = _guarded(place, lambda: _local(path))
    return str(path.resolve()), *_splits(found, place)


def _guarded(place: str, load: Callable[[], Any]) -> Any:
    """What ``load`` gives; the library raises what it likes.

    Raises:
        VertebraError: it cannot be loaded.
    """
    try:
        return load()
    except VertebraError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = (
            "" if Path(place).exists() else "; from the hub it takes a network, from a folder not"
        )
        raise VertebraError(f"hf:{place} cannot be loaded: {reason}{hint}") from None


def _local(path: Path) -> Any:
    import datasets

    if path.is_dir() and any((path / name).exists() for name in _SAVED):
        return datasets.load_from_disk(str(path))
    files = [path] if path.is_file() else sorted(_tables(path))
    if not files:
        raise VertebraError(f"no .parquet or .arrow files in {path}")
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(_split_of(file, path), []).append(file)
    if "" in by_split and len(by_split) > 1:
        raise VertebraError(
            f"{by_split[''][0]} is of no split and stands beside others that are; expected train-, "
            "validation- or test- before its name"
        )
    return {split or "train": _table(some) for split, some in by_split.items()}


def _tables(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix in (".parquet", ".arrow") and not path.name.startswith("."):
            yield path


def _split_of(file: Path, base: Path) -> str:
    """By the first word of a file's name, else by its folder below the base; "" if neither says."""
    word = file.name.replace("_", "-").replace(".", "-").split("-")[0]
    code = split_code(word)
    if code is None and file != base and file.parent != base:
        code = split_code(file.parent.name)
    return "" if code is None else SPLITS[code]


def _table(files: list[Path]) -> Any:
    import datasets

    arrow = [file for file in files if file.suffix == ".arrow"]
    if len(arrow) == len(files):
        parts = [datasets.Dataset.from_file(str(file)) for file in files]
        return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)
    if arrow:
        raise VertebraError(f"{files[0].parent} mixes .arrow and .parquet files")
    # Written once as Arrow into the library's own cache, and mapped from there.
    return datasets.Dataset.from_parquet([str(file) for file in files])


def _splits(found: Any, place: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The tables by split; what is no split of ours is passed over, with a note."""
    parts = found if isinstance(found, dict) else {"train": found}
    tables: dict[str, Any] = {}
    strange = []
    for name, table in parts.items():
        code = split_code(str(name))
        if code is None:
            strange.append(f"'{name}' ({len(table)} rows)")
        elif SPLITS[code] in tables:
            raise VertebraError(f"hf:{place} has two splits that are called {SPLITS[code]}")
        else:
            tables[SPLITS[code]] = table
    if not tables:
        raise VertebraError(f"hf:{place} has no split train, val or test, but {', '.join(strange)}")
    notes = (f"passed over splits of other names: {', '.join(strange)}",) if strange else ()
    return {name: tables[name] for name in SPLITS if name in tables}, notes
