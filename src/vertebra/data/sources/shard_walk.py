"""One walk over the headers of a tar file (POSIX.1-1988 ustar, GNU long names, pax paths)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from vertebra.core import VertebraError
from vertebra.data.sources.source import EXTENSIONS

_BLOCK = 512
# A header, and a small member with it: the label of a sample is there without another read.
_AT_ONCE = 2 * _BLOCK
_KEY = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)", re.DOTALL)
_NOTE = re.compile(r"__[^/]*__(/|$)")
_IMAGES = frozenset(suffix[1:] for suffix in EXTENSIONS)


@dataclass
class Walked:
    """The samples of a shard (n): keys, labels, and where their images lie, in bytes.

    ``bare`` counts samples without an image. ``cut``: the file ends too early, and the last sample
    may be missing.
    """

    keys: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    bare: int = 0
    cut: bool = False


class _Member(NamedTuple):
    name: str
    offset: int
    size: int
    start: bytes  # of its content, as far as it was read with the header


class _Cut(Exception):  # noqa: N818 - an ending, not an error
    """The file ends within a member."""


def walk(path: Path) -> Walked:
    """Find the samples of a shard: members that follow each other and have one key.

    A key is a member's path up to the first dot of its name.

    Raises:
        VertebraError: it is no tar file, a member is a link, or a sample has no label.
        OSError: it cannot be read.
    """
    found, sample = Walked(), _Sample()
    file = os.open(path, os.O_RDONLY)
    try:
        if hasattr(os, "posix_fadvise"):  # or each header would bring the next 128 KB with it
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        for member in _members(file, path):
            split = _KEY.fullmatch(member.name)
            if split is None or _NOTE.match(member.name):
                continue  # hidden files, and WebDataset's own notes
            key, suffix = split[1], split[2].lower()
            if key != sample.key:
                sample.end(found, path)
                sample = _Sample(key)
            sample.take(file, member, suffix, path)
    except _Cut:
        found.cut = True
    finally:
        os.close(file)
    sample.end(found, path)
    return found


@dataclass
class _Sample:
    """The members of one key so far."""

    key: str | None = None
    image: _Member | None = None
    label: str | None = None

    def take(self, file: int, member: _Member, suffix: str, path: Path) -> None:
        if suffix in _IMAGES and self.image is None:
            self.image = member
        elif suffix in ("cls", "json"):
            label = _label(_content(file, member), suffix, member.name, path)
            self.label = label if label is not None else self.label

    def end(self, found: Walked, path: Path) -> None:
        if self.key is None:
            return
        if self.image is None or self.label is None:
            if found.cut:
                return
            if self.image is None:
                found.bare += 1
                return
            raise VertebraError(
                f"sample {self.key} of {path} has no label; expected {self.key}.cls, or "
                f'"label" in {self.key}.json'
            )
        found.keys.append(self.key)
        found.labels.append(self.label)
        found.offsets.append(self.image.offset)
        found.sizes.append(self.image.size)


def _label(content: bytes, suffix: str, name: str, path: Path) -> str | None:
    try:
        text = content.decode()
        if suffix == "cls":
            label: object = text.strip()
        else:
            plain = json.loads(text)
            label = plain.get("label") if isinstance(plain, dict) else None
    except ValueError:
        raise VertebraError(f"{name} of {path} cannot be read as a label") from None
    if label is None or isinstance(label, bool | float | list | dict):
        return None
    return str(label) or None


def _members(file: int, path: Path) -> Iterator[_Member]:
    """The files in a tar file, in order.

    Raises:
        VertebraError: it is no tar file, or has links in it.
        _Cut: it ends early.
    """
    end, at = os.fstat(file).st_size, 0
    renamed: str | None = None
    resized: int | None = None
    while True:
        read = os.pread(file, _AT_ONCE, at)
        header, start = read[:_BLOCK], read[_BLOCK:]
        if len(header) < _BLOCK:
            raise _Cut
        if not any(header):
            return
        if not _is_header(header):
            if at == 0:
                raise VertebraError(f"{path} is no tar file")
            raise VertebraError(f"{path} is damaged: no header of a member at byte {at}")
        kind, size = header[156:157], _number(header[124:136])
        if kind in b"0\0" and resized is not None:
            size = resized
        offset = at + _BLOCK
        at = offset + -(-size // _BLOCK) * _BLOCK
        if offset + size > end:
            raise _Cut
        if kind in (b"L", b"x"):
            content = _content(file, _Member("", offset, size, start))
            if kind == b"L":
                renamed = content.rstrip(b"\0").decode(errors="surrogateescape")
            else:
                renamed, resized = _pax(content, renamed)
            continue
        name = renamed if renamed is not None else _name(header)
        if kind in b"12":
            raise VertebraError(f"{name} of {path} is a link; expected files (tar --dereference)")
        if kind in b"0\0007":
            yield _Member(name.removeprefix("./"), offset, size, start)
        if kind != b"g":
            renamed = resized = None


def _content(file: int, member: _Member) -> bytes:
    if member.size <= len(member.start):
        return member.start[: member.size]
    return os.pread(file, member.size, member.offset)


def _is_header(header: bytes) -> bool:
    """Whether the checksum is right: the sum of all bytes, with spaces in its own place."""
    try:
        noted = int(header[148:156].split(b"\0")[0].strip() or b"x", 8)
    except ValueError:
        return False
    return sum(header) - sum(header[148:156]) + 8 * ord(" ") == noted


def _number(text: bytes) -> int:
    """Octal digits, or, of GNU, a number of 95 bits after a byte of 0x80."""
    if text[0] & 0x80:
        return int.from_bytes(text[1:], "big")
    return int(text.split(b"\0")[0].strip() or b"0", 8)


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0")[0]
    prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    whole = prefix + b"/" + name if prefix else name
    return whole.decode(errors="surrogateescape")


def _pax(content: bytes, name: str | None) -> tuple[str | None, int | None]:
    """Path and size of a pax header: records "LENGTH KEY=VALUE\\n"."""
    size = None
    while content:
        length = int(content.split(b" ", 1)[0])
        key, _, value = content[:length].split(b" ", 1)[1].rstrip(b"\n").partition(b"=")
        if key == b"path":
            name = value.decode(errors="surrogateescape")
        elif key == b"size":
            size = int(value)
        content = content[length:]
    return name, size
