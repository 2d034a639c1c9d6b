"""Which shards a pattern names, of which split each is, and what their classes are called."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vertebra.core import VertebraError, unknown
from vertebra.data.sources.codes import sorted_classes
from vertebra.data.sources.source import check_named, split_code

_COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip")


class ShardFile(NamedTuple):
    """A shard: its name in ids, its path, and its split as an index into ``SPLITS``."""

    name: str
    path: Path
    split: int | None


def shard_files(pattern: str) -> tuple[Path, list[ShardFile]]:
    """The folder that the shards have in common, and they themselves, in the order of their names.

    Raises:
        VertebraError: there are none, one is missing, compressed or not a local file, or some have
            a split and others none.
    """
    if re.match(r"[a-z][a-z0-9+]*:", pattern):
        raise VertebraError(
            f"samples of {pattern} have no position to be read at, which exact resuming needs; "
            "copy the shards to a local folder"
        )
    paths = [Path(name) for name in expand_braces(pattern)]
    if len(paths) == 1 and paths[0].is_dir():
        base, paths = paths[0], sorted(_tars(paths[0]))
        if not paths:
            raise VertebraError(f"no .tar files in {base}")
    else:
        base = Path(os.path.commonpath([path.parent.absolute() for path in paths]))
    for path in paths:
        _refuse_unseekable(path)
    base = base.absolute()
    names = [os.path.relpath(path.absolute(), base).removesuffix(".tar") for path in paths]
    files = [
        ShardFile(name, path.absolute(), _split_of(path.absolute()))
        for name, path in zip(names, paths, strict=True)
    ]
    _refuse_mixed(files)
    return base, files


def expand_braces(pattern: str) -> list[str]:
    """ "a-{08..10}.tar" -> a-08.tar, a-09.tar, a-10.tar; "{a,b}.tar" -> a.tar, b.tar.

    As shells do it, without braces within braces.
    """
    parts = re.split(r"\{([^{}]*)\}", pattern)
    choices = [list(_choices(part)) if at % 2 else [part] for at, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _choices(inside: str) -> Iterator[str]:
    run = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if run is None:
        yield from inside.split(",") if "," in inside else [f"{{{inside}}}"]
        return
    first, last = int(run[1]), int(run[2])
    padded = any(len(text) > 1 and text[0] == "0" for text in run.groups())
    width = max(map(len, run.groups())) if padded else 0
    for number in range(first, last + 1) if first <= last else range(first, last - 1, -1):
        yield f"{number:0{width}d}"


def _tars(folder: Path) -> Iterator[Path]:
    for base, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith(".") and (name.endswith(".tar") or ".tar." in name):
                yield Path(base, name)


def _refuse_unseekable(path: Path) -> None:
    if path.suffix in _COMPRESSED:
        raise VertebraError(
            f"samples of {path} have no position to be read at, since it is compressed; unpack it "
            "to a .tar file (images do not shrink any further)"
        )
    if not path.is_file():
        raise VertebraError(f"no such shard: {path}")


def _split_of(path: Path) -> int | None:
    """By the first word of a shard's name, else by its folder."""
    word = re.split(r"[-_.0-9]", path.name, maxsplit=1)[0]
    found = split_code(word)
    return split_code(path.parent.name) if found is None else found


def _refuse_mixed(files: list[ShardFile]) -> None:
    without = [file for file in files if file.split is None]
    if 0 < len(without) < len(files):
        others = next(file for file in files if file.split is not None)
        raise VertebraError(
            f"{without[0].path} is of no split and stands beside {others.path.name}; expected "
            "train-, val- or test- before its name, or a folder called so"
        )


def class_names(base: Path) -> list[str] | None:
    """The names in ``classes.txt`` (a line each) or ``classes.json`` (a list), if there is one.

    Raises:
        VertebraError: it is not like that, or has a name twice.
    """
    text, plain = base / "classes.txt", base / "classes.json"
    try:
        if text.is_file():
            names = [line.strip() for line in text.read_text(encoding="utf-8").splitlines()]
            return check_named([name for name in names if name], text)
        if plain.is_file():
            found = json.loads(plain.read_text(encoding="utf-8"))
            if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
                raise VertebraError(f"{plain} is no list of names")
            return check_named(found, plain)
    except (OSError, ValueError) as error:
        raise VertebraError(f"the names of classes beside {base} cannot be read: {error}") from None
    return None


def number_classes(
    words: Sequence[str], names: list[str] | None, text: str
) -> tuple[tuple[str, ...], list[int]]:
    """Class names, and the class of each of the distinct labels ``words``.

    Raises:
        VertebraError: a label is no class of ``names``.
    """
    if names is None:
        classes = sorted_classes(words)
        place = {name: label for label, name in enumerate(classes)}
        return classes, [place[word] for word in words]
    place = {name: label for label, name in enumerate(names)}
    numbers = {str(label): label for label in range(len(names))}
    # Where names are numbers themselves, they are meant.
    known = {**numbers, **place}
    labels = []
    for word in words:
        if word not in known:
            if re.fullmatch(r"-?\d+", word):
                raise VertebraError(
                    f"label {word} of {text} is beyond the {len(names)} names in its classes file"
                )
            raise unknown("class", word, names)
        labels.append(known[word])
    return tuple(names), labels
