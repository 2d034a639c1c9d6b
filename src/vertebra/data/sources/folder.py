"""Images in folders: one subfolder a class, as torchvision's ImageFolder has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vertebra.core import VertebraError
from vertebra.data.sources.files import FileListing
from vertebra.data.sources.names import NameBuilder
from vertebra.data.sources.source import (
    EXTENSIONS,
    SPLITS,
    check_classes,
    refuse_unlistable,
    split_code,
    trained_labels,
)

# Names of one folder that are held as Python strings at a time.
_BLOCK = 16384


@dataclass(frozen=True, eq=False, kw_only=True)
class FolderSource(FileListing):
    """Labelled image files below one root.

    ``ids`` are paths relative to the root, sorted, so nothing depends on the order in which a file
    system lists them. The split of a file is given where the folders say it.
    """


def open_folder(root: Path, *, training: bool = True) -> FolderSource:
    """List the images below ``root``: ``class/...`` or ``train|val|test/class/...``.

    With ``training`` off there need not be a training split, and a class may be empty or the only
    one: enough to evaluate on.

    Raises:
        VertebraError: the path is missing or no folder, has no class folders, a class has no
            images, there is only one class, or a split has a class that training does not.
    """
    if not root.exists():
        raise VertebraError(f"no such file or folder: {root}")
    if not root.is_dir():
        raise VertebraError(f"{root} is a file; expected a folder with one subfolder a class")
    folders = _subfolders(root)
    if not folders:
        raise VertebraError(_no_classes(root))
    named = {name: split_code(name) for name in folders}
    trained = [name for name, part in named.items() if part == SPLITS.index("train")]
    split = None not in named.values() and (bool(trained) or not training)
    if not split:
        _refuse_near_miss(root, named)
    parts: dict[str, int | None] = named if split else {"": None}
    if training:
        classes = _classes(root / trained[0] if split else root)
    else:
        classes = tuple(sorted({name for part in parts for name in _classes(root / part)}))
    listing = _Listing(root, classes)
    for folder, part in parts.items():
        listing.add(folder, part)
    return listing.source(split, training)


class _Listing:
    """The files found so far: their names, and how many in a row are of which class and split."""

    def __init__(self, root: Path, classes: tuple[str, ...]) -> None:
        self.root, self.classes = root, classes
        self.names = NameBuilder()
        self.runs: list[tuple[int, int, int]] = []  # files, label, split
        self.ignored: dict[str, int] = {}

    def add(self, folder: str, split: int | None) -> None:
        """Every image in one split's folder; counts other files by their suffix."""
        base = self.root / folder
        label_of = {name: label for label, name in enumerate(self.classes)}
        for name in _subfolders(base):
            if name not in label_of:
                raise VertebraError(f"class '{name}' is in {base} but not in {self.root / 'train'}")
            before = len(self.names)
            for inside, files in _walk(base / name):
                images = [file for file in files if _is_image(file)]
                if len(images) < len(files):
                    self._ignore(files)
                self._pack(os.path.join(folder, name, inside, ""), images)  # noqa: PTH118
            self.runs.append((len(self.names) - before, label_of[name], split or 0))

    def _pack(self, prefix: str, images: list[str]) -> None:
        try:
            self.names.add(images, prefix)
        except UnicodeEncodeError:
            for name in images:
                _readable(prefix + name)

    def _ignore(self, files: list[str]) -> None:
        for file in files:
            if not _is_image(file):
                suffix = Path(file).suffix.lower() or "no suffix"
                self.ignored[suffix] = self.ignored.get(suffix, 0) + 1

    def source(self, split: bool, training: bool) -> FolderSource:
        if not len(self.names):
            raise VertebraError(f"no images in {self.root}")
        ids = self.names.finish()
        order = ids.order()
        counts, labels, splits = np.array(self.runs, dtype=np.int64).T
        every: NDArray[np.int64] = np.repeat(labels, counts)[order]
        given = np.repeat(splits.astype(np.int8), counts)[order] if split else None
        if training:
            check_classes(self.classes, trained_labels(every, given), self.root)
        root = self.root.resolve()
        return FolderSource(
            name=str(root),
            root=str(root),
            ids=ids.take(order),
            labels=every,
            classes=self.classes,
            given=given,
            notes=_notes(self.ignored),
        )


def _refuse_near_miss(root: Path, named: dict[str, int | None]) -> None:
    """Folders named like splits, with folders in them, beside others: no classes called "train".

    Raises:
        VertebraError: there is one.
    """
    for name, part in named.items():
        if part is not None and _subfolders(root / name) and not _holds_images(root / name):
            others = [other for other, kind in named.items() if kind is None]
            what = f"beside '{others[0]}'" if others else "without a train folder"
            raise VertebraError(f"{root / name} looks like a split, but stands {what}")


def _holds_images(folder: Path) -> bool:
    return any(_is_image(entry.name) for entry in folder.iterdir())


def image_files(path: Path) -> list[Path]:
    """``path`` itself if it is a file, else every image below it, sorted.

    Raises:
        VertebraError: no such path, or a folder without images.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise VertebraError(f"no such file or folder: {path}")
    found = [
        path / _readable(os.path.join(inside, name))  # noqa: PTH118 - surrogates stay
        for inside, names in _walk(path)
        for name in names
        if _is_image(name)
    ]
    if not found:
        raise VertebraError(f"no images in {path}")
    return sorted(found)


def _readable(name: str) -> str:
    """``name`` if it can be written down: Linux allows names that are no text.

    Raises:
        VertebraError: it cannot.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode(errors="surrogateescape")
        raise VertebraError(f"the name {shown!r} is not UTF-8; rename it") from None
    return name


def _subfolders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    except OSError as error:
        refuse_unlistable(error)
    return sorted(_readable(name) for name in names)


def _walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """(path below ``folder``, names of files) but for hidden ones, through links to folders too.

    A large folder comes in several parts.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        # As text: a million Path objects are slow.
        base = os.path.join(folder, inside) if inside else str(folder)  # noqa: PTH118
        folders: list[tuple[bool, str]] = []
        files: list[str] = []
        try:
            status = os.stat(base)  # noqa: PTH116 - as above
            # A link to a folder above would list the same images again and again.
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(base) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if _is_folder(entry):
                        folders.append((entry.is_symlink(), entry.name))
                        continue
                    files.append(entry.name)
                    if len(files) == _BLOCK:
                        yield inside, files
                        files = []
        except OSError as error:
            refuse_unlistable(error)
        if files:
            yield inside, files
        # In an order that is not the file system's: it decides which of two links is followed.
        folders.sort(reverse=True)
        waiting += [os.path.join(inside, name) for _, name in folders]  # noqa: PTH118


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_image(path: str) -> bool:
    return path[path.rfind(".") :].lower() in EXTENSIONS


def _classes(base: Path) -> tuple[str, ...]:
    names = _subfolders(base)
    if not names:
        raise VertebraError(_no_classes(base))
    return tuple(names)


def _no_classes(folder: Path) -> str:
    return f"{folder} has no class folders; expected one subfolder a class with images in it"


def _notes(ignored: dict[str, int]) -> tuple[str, ...]:
    if not ignored:
        return ()
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(ignored.items()))
    return (f"passed over files that are no images: {kinds}",)
