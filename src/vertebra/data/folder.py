"""Images in folders: one subfolder a class, as torchvision's ImageFolder has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vertebra.core import VertebraError
from vertebra.data.decode import decode
from vertebra.data.kept import KeptImages

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
)
# What a split's folder may be called.
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class FolderSource:
    """Labelled image files below one root.

    ``ids`` are paths relative to the root, sorted, so nothing depends on the order in which a file
    system lists them. ``labels`` (N,) index ``classes``. ``given`` (N,) names each file's split
    where the folders say so, and is None where they do not. ``notes`` tells what was passed over.
    """

    root: Path
    ids: list[str]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    given: NDArray[np.str_] | None
    notes: tuple[str, ...]
    kept: KeptImages = field(repr=False, compare=False)
    native_size: int | None = None
    native_channels: int = 3

    @property
    def name(self) -> str:
        """The root's absolute path."""
        return str(self.root)

    def read(self, index: int, channels: int) -> Tensor:
        """Image ``index`` as uint8 (channels, H, W); not to be written to, for it may be kept.

        Raises:
            DecodeError: the file cannot be decoded.
        """
        path = self.root / self.ids[index]
        return self.kept.get((index, channels), lambda: decode(path, channels))

    def stamp(self, index: int) -> str:
        """What the dataset's fingerprint takes from this file: its name and its size in bytes."""
        try:
            size = (self.root / self.ids[index]).stat().st_size
        except OSError:  # listed, but a link to nothing
            return f"{self.ids[index]}\0missing"
        return f"{self.ids[index]}\0{size}"


def open_folder(root: Path, kept: KeptImages, *, training: bool = True) -> FolderSource:
    """List the images below ``root``: ``class/...`` or ``train|val|test/class/...``.

    With ``training`` off there need not be a training split, and a class may be empty or the only
    one: enough to evaluate on. ``kept`` holds what is decoded.

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
    named = {name: SPLIT_NAMES.get(name.lower()) for name in folders}
    trained = [name for name, part in named.items() if part == "train"]
    split = None not in named.values() and (bool(trained) or not training)
    if not split:
        _refuse_near_miss(root, named)
    parts = named if split else {"": None}
    if training:
        classes = _classes(root / trained[0] if split else root)
    else:
        classes = tuple(sorted({name for part in parts for name in _classes(root / part)}))
    rows: list[tuple[str, int, str]] = []
    ignored: dict[str, int] = {}
    for folder, split_name in parts.items():
        listed = _list_part(root, folder, classes, ignored)
        rows.extend((*row, split_name or "") for row in listed)
    rows.sort()
    labels = np.array([row[1] for row in rows], dtype=np.int64)
    given = np.array([row[2] for row in rows]) if split else None
    if not rows:
        raise VertebraError(f"no images in {root}")
    if training:
        _check_classes(classes, labels if given is None else labels[given == "train"], root)
    return FolderSource(
        root=root.resolve(),
        ids=[row[0] for row in rows],
        labels=labels,
        classes=classes,
        given=given,
        notes=_notes(ignored),
        kept=kept,
    )


def _refuse_near_miss(root: Path, named: dict[str, str | None]) -> None:
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
    found = [Path(_readable(entry)) for entry in _walk(path) if _is_image(entry)]
    if not found:
        raise VertebraError(f"no images in {path}")
    return sorted(found)


def _list_part(
    root: Path, folder: str, classes: tuple[str, ...], ignored: dict[str, int]
) -> Iterator[tuple[str, int]]:
    """(id, label) of each image in one split's folder; counts other files by their suffix."""
    base = root / folder
    label_of = {name: label for label, name in enumerate(classes)}
    for name in _subfolders(base):
        if name not in label_of:
            raise VertebraError(f"class '{name}' is in {base} but not in {root / 'train'}")
        for entry in _walk(base / name):
            if _is_image(entry):
                yield _readable(os.path.relpath(entry, root)), label_of[name]
            else:
                suffix = Path(entry).suffix.lower() or "no suffix"
                ignored[suffix] = ignored.get(suffix, 0) + 1


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
        _refuse_unlistable(error)
    return sorted(_readable(name) for name in names)


def _refuse_unlistable(error: OSError) -> NoReturn:
    """A folder passed over would be images missing without a word.

    Raises:
        VertebraError: always.
    """
    raise VertebraError(f"cannot list {error.filename}: {error.strerror}") from None


def _walk(folder: Path) -> Iterator[str]:
    """Every file below ``folder`` but hidden ones, through links to folders too."""
    seen: set[tuple[int, int]] = set()
    for base, folders, names in os.walk(folder, followlinks=True, onerror=_refuse_unlistable):
        status = os.stat(base)  # noqa: PTH116 - as below
        # A link to a folder above would list the same images again and again.
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        # In an order that is not the file system's: it decides which of two links is followed.
        folders[:] = sorted(
            (name for name in folders if not name.startswith(".")),
            key=lambda name: (os.path.islink(os.path.join(base, name)), name),  # noqa: PTH114, PTH118
        )
        for name in names:
            if not name.startswith("."):
                yield os.path.join(base, name)  # noqa: PTH118 - a million Path objects are slow


def _is_image(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in EXTENSIONS  # noqa: PTH122 - as above


def _classes(base: Path) -> tuple[str, ...]:
    names = _subfolders(base)
    if not names:
        raise VertebraError(_no_classes(base))
    return tuple(names)


def _no_classes(folder: Path) -> str:
    return f"{folder} has no class folders; expected one subfolder a class with images in it"


def _check_classes(classes: tuple[str, ...], labels: NDArray[np.int64], root: Path) -> None:
    counts = np.bincount(labels, minlength=len(classes))
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if empty:
        raise VertebraError(f"class '{empty[0]}' in {root} has no images to train on")
    if len(classes) == 1:
        raise VertebraError(f"{root} has only one class, '{classes[0]}'; a classifier needs two")


def _notes(ignored: dict[str, int]) -> tuple[str, ...]:
    if not ignored:
        return ()
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(ignored.items()))
    return (f"passed over files that are no images: {kinds}",)
