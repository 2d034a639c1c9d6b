"""Pictures as files of every kind, and what Pillow reads from them."""

import functools
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from vertebra.core import VertebraError
from vertebra.data import DecodeError, decode

# Not square and of odd sides, so that a turn or a swapped axis shows.
WIDTH, HEIGHT = 23, 17
ORIENTATION = 0x0112
Array = NDArray[np.uint8]


def pixels(channels: int, seed: int = 0) -> Array:
    """Random pixels (H, W) or (H, W, channels): only good for formats without loss."""
    size = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def smooth(channels: int) -> Array:
    """A gradient that runs another way in each channel: what JPEG is made for."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [9 * x + 40, 12 * y + 20, 5 * x + 6 * y, 4 * (WIDTH - x) + 30]
    stacked = np.stack(planes[:channels], axis=-1).astype(np.uint8)
    return stacked[..., 0] if channels == 1 else stacked


def planes(array: NDArray[np.generic]) -> Tensor:
    """(H, W[, C]) as decode() has it: (C, H, W)."""
    tensor = torch.from_numpy(np.array(array))
    return tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)


def with_pillow(path: Path, mode: str = "RGB") -> Tensor:
    """The file as Pillow sees it: upright, on white."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return planes(np.asarray(Image.alpha_composite(white, image).convert(mode)))


def difference(one: Tensor, other: Tensor) -> int:
    assert one.shape == other.shape
    assert one.dtype == other.dtype == torch.uint8
    return int((one.int() - other.int()).abs().max())


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png16(values: NDArray[np.uint16], colour_type: int, *before: bytes) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write in colour."""
    height, width = values.shape[:2]
    rows = values.astype(">u2").reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)  # filter 0 before each row
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    body = [chunk(b"IHDR", header), *before, chunk(b"IDAT", zlib.compress(raw))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body) + chunk(b"IEND", b"")


def values16(channels: int) -> NDArray[np.uint16]:
    size = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    return np.random.default_rng(16).integers(0, 65536, size, dtype=np.uint16)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey_of(rgb: Tensor) -> Tensor:
    """Luma by ITU-R BT.601 of (3, H, W), unrounded."""
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return (rgb.float() * weights).sum(0, keepdim=True)


@functools.cache
def lossless() -> dict[str, bytes]:
    """By name, files whose every pixel is known; none is see-through in part."""
    colour, grey = Image.fromarray(pixels(3)), Image.fromarray(pixels(1))
    bilevel = Image.fromarray(pixels(1) > 127)
    return {
        "png-rgb": encoded(colour, "PNG"),
        "png-grey": encoded(grey, "PNG"),
        "png-palette": encoded(colour.quantize(16), "PNG"),
        "png-palette-2": encoded(colour.quantize(2), "PNG", bits=1),
        "png-1bit": encoded(bilevel, "PNG"),
        "webp-rgb": encoded(colour, "WEBP", lossless=True),
        "bmp-rgb": encoded(colour, "BMP"),
        "bmp-grey": encoded(grey, "BMP"),
        "bmp-palette": encoded(colour.quantize(16), "BMP"),
        "bmp-1bit": encoded(bilevel, "BMP"),
        "gif": encoded(colour.quantize(16), "GIF"),
        "gif-grey": encoded(grey, "GIF"),
        "tiff-rgb": encoded(colour, "TIFF"),
        "tiff-deflate": encoded(colour, "TIFF", compression="tiff_deflate"),
        "tiff-lzw-grey": encoded(grey, "TIFF", compression="tiff_lzw"),
        "tiff-cmyk": encoded(Image.fromarray(pixels(4), mode="CMYK"), "TIFF"),
        "tiff-1bit": encoded(bilevel, "TIFF", compression="group4"),
        "ppm": encoded(colour, "PPM"),
        "pgm": encoded(grey, "PPM"),
    }


@functools.cache
def see_through() -> dict[str, bytes]:
    """By name, files with every degree of transparency that their format has."""
    colour, rgba = Image.fromarray(pixels(3)), Image.fromarray(pixels(4))
    grey_alpha = Image.fromarray(pixels(2), mode="LA")
    palette = colour.quantize(16)
    key = tuple(int(v) for v in pixels(3)[3, 5])
    return {
        "png-rgba": encoded(rgba, "PNG"),
        "png-grey-alpha": encoded(grey_alpha, "PNG"),
        "png-palette-one-index": encoded(palette, "PNG", transparency=3),
        "png-palette-alphas": encoded(palette, "PNG", transparency=bytes(range(0, 256, 16))),
        "png-colour-key": encoded(colour, "PNG", transparency=key),
        "png-grey-key": encoded(
            Image.fromarray(pixels(1) // 16), "PNG", transparency=int(pixels(1)[2, 2] // 16)
        ),
        "png-1bit-key": encoded(Image.fromarray(pixels(1) > 127), "PNG", transparency=0),
        "webp-rgba": encoded(rgba, "WEBP", lossless=True, exact=True),
        "gif": encoded(palette, "GIF", transparency=3),
        "tiff-rgba": encoded(rgba, "TIFF"),
        "tiff-grey-alpha": encoded(grey_alpha, "TIFF"),
    }


def complaint(path: Path) -> str:
    """The reason that decode() gives, once the form of its message has been checked."""
    with pytest.raises(DecodeError) as caught:
        decode(path)
    message = str(caught.value)
    assert isinstance(caught.value, VertebraError)
    assert message.startswith(f"{path}: ")
    reason = message.removeprefix(f"{path}: ")
    assert reason.strip() == reason != ""
    assert len(reason.splitlines()) == 1
    for source in (".cpp", ".py", "site-packages", "Exception raised", "TORCH_CHECK", "frame #"):
        assert source not in reason
    assert len(reason) < 120
    return reason
