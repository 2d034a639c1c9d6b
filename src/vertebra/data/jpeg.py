"""JPEG by simplejpeg: to the pixels of torchvision's decoder and faster, and smaller where asked.

Only for what both read alike: files of 8 bits in YCbCr or grey, without a single warning. ``None``
stands for every other file, which torchvision then reads or refuses.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

try:
    import simplejpeg  # type: ignore[import-untyped,unused-ignore]
except ImportError:  # a machine without it is slower and gets the same pixels
    simplejpeg = None

AVAILABLE = simplejpeg is not None
FACTORS = (1, 2, 4, 8)  # what a block of 8x8 coefficients is shrunk by at no cost
_ORIENTATION = 0x0112  # the tag in EXIF
_COLOURS = {1: "GRAY", 3: "RGB"}


class Box(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class Header(NamedTuple):
    """The size of the picture as it is to be seen, and how the file holds it (EXIF, 1 to 8)."""

    height: int
    width: int
    orientation: int


def version() -> str | None:
    """Of simplejpeg; None where it is not installed."""
    return None if simplejpeg is None else str(simplejpeg.__version__)


def is_jpeg(content: bytes) -> bool:
    """Whether a file is JPEG, by its first bytes and not by its name."""
    return content[:3] == b"\xff\xd8\xff"


def read_header(content: bytes) -> Header | None:
    """Size and orientation without decoding; None where torchvision has to look."""
    if simplejpeg is None or not is_jpeg(content):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        orientation = _orientation(content)
    except (ValueError, OSError, SyntaxError, KeyError, TypeError, struct.error):
        return None
    if colours not in ("YCbCr", "Gray"):
        return None
    if orientation >= 5:
        height, width = width, height
    return Header(height, width, orientation)


def _orientation(content: bytes) -> int:
    segment = _exif(content)
    if not segment:
        return 1
    exif = Image.Exif()
    exif.load(segment)
    orientation = exif.get(_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def _exif(content: bytes) -> bytes:
    """The first EXIF segment before the picture's data, or nothing."""
    place = 2
    while content[place : place + 1] == b"\xff":
        marker = content[place + 1 : place + 2]
        if marker == b"\xff":  # a byte of filling
            place += 1
            continue
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4])
        if marker == b"\xe1" and content[place + 4 : place + 10] == b"Exif\0\0":
            return content[place + 4 : end]
        if marker == b"\xda" or end >= len(content):
            return b""
        place = end
    return b""


def read_pixels(
    content: bytes, header: Header, channels: int, factor: int = 1, box: Box | None = None
) -> NDArray[np.uint8] | None:
    """uint8 (height, width, channels), upright, a view; None where there is a fault in the data.

    Each side is divided by ``factor`` and rounded up: the decoder shrinks by transforming fewer
    coefficients of each block of 8x8 pixels. ``box`` is the part to return, in pixels of the
    upright picture before it is shrunk.
    """
    turned = header.orientation >= 5
    height, width = (header.width, header.height) if turned else (header.height, header.width)
    least: dict[str, Any] = {}
    if factor > 1:
        least = {"min_height": -(-height // factor), "min_width": -(-width // factor)}
    try:
        pixels = simplejpeg.decode_jpeg(content, _COLOURS[channels], **least)
    except ValueError:
        return None
    if box is not None:
        # Cut before turning: what rounding up adds is at the file's end, and not the picture's.
        top, left, height, width = shrunk(as_stored(box, header), factor)
        pixels = pixels[top : top + height, left : left + width]
    return _upright(pixels, header.orientation)


def shrunk(box: Box, factor: int) -> Box:
    """The box in an image whose sides are divided by ``factor``: each edge to the nearest pixel."""
    top, left = _nearest(box.top, factor), _nearest(box.left, factor)
    bottom = _nearest(box.top + box.height, factor)
    right = _nearest(box.left + box.width, factor)
    return Box(top, left, bottom - top, right - left)


def _nearest(edge: int, factor: int) -> int:
    # Halves go up on both sides of a box, never to even: so no side loses a pixel.
    return (edge + factor // 2) // factor


def as_stored(box: Box, header: Header) -> Box:
    """The box of the upright picture where the file's own rows and columns have it."""
    top, left, height, width = box
    if _backwards(header.orientation)[0]:
        top = header.height - top - height
    if _backwards(header.orientation)[1]:
        left = header.width - left - width
    return (
        Box(left, top, width, height) if header.orientation >= 5 else Box(top, left, height, width)
    )


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows, columns = _backwards(orientation)
    return pixels[:: -1 if rows else 1, :: -1 if columns else 1]


def _backwards(orientation: int) -> tuple[bool, bool]:
    """Whether rows and columns run backwards, once the sides are swapped (EXIF's 5 to 8)."""
    return orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
