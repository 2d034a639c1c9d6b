"""One image file to one tensor, the same way for every kind of file.

JPEG goes to torchvision, which is 1.5 to 2.3 times as fast as Pillow, or to simplejpeg, which gives
the same pixels and is faster still. All else goes to Pillow: it is torchvision that reads palettes
as indices, ignores colour keys, knows no BMP, and ends the whole process on some damaged PNG files
(see docs/decisions).
"""

import io
import re
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

import vertebra
from vertebra.core import VertebraError
from vertebra.data import jpeg

_MODES = {1: ImageReadMode.GRAY, 3: ImageReadMode.RGB}


# A longer strip is no photograph, and its shorter side resized to 224 pixels would fill gigabytes.
MOST_ELONGATED = 100


class DecodeError(VertebraError):
    """A file that holds no readable image; ``reason`` says why, the message names the file too."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type["DecodeError"], tuple[str | Path, str]]:
        return type(self), (self.path, self.reason)


def decode(path: str | Path, channels: int = 3) -> Tensor:
    """Read an image file as uint8 of shape (channels, height, width); 1 channel is grey, 3 RGB.

    Upright by its EXIF orientation, transparency composited on white, 16 bits a channel cut to the
    high byte, CMYK converted, the first frame of an animation.

    Raises:
        DecodeError: the file is missing, truncated or no image, or one side of it is more than 100
            times the other.
        ValueError: a number of channels other than 1 and 3.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise DecodeError(path, _reason(error)) from None
    return decode_bytes(content, path, channels)


def decode_bytes(content: bytes, name: str | Path, channels: int = 3) -> Tensor:
    """``decode`` for a file that was read already; ``name`` is what errors call it.

    Raises:
        DecodeError: the content is truncated or no image, or one side of it is more than 100 times
            the other.
        ValueError: a number of channels other than 1 and 3.
    """
    if channels not in _MODES:
        raise ValueError(f"an image is read with 1 or 3 channels, not {channels}")
    try:
        image = _jpeg(content, channels) if jpeg.is_jpeg(content) else _pillow(content)
    except (OSError, RuntimeError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DecodeError(name, _reason(error)) from None
    height, width = image.shape[-2:]
    if is_strip(height, width):
        raise DecodeError(name, f"{width}x{height} pixels are a strip and not a picture")
    return _to_channels(image, channels)


def decoders() -> str:
    """What decodes here, with versions: another may give other pixels of the same file."""
    return (
        f"vertebra {vertebra.__version__}, Pillow {PIL.__version__}, "
        f"torchvision {torchvision.__version__}, simplejpeg {jpeg.version()}"
    )


def is_strip(height: int, width: int) -> bool:
    """Whether one side is more than 100 times the other."""
    return max(height, width) > MOST_ELONGATED * min(height, width)


def _jpeg(content: bytes, channels: int) -> Tensor:
    header = jpeg.read_header(content)
    pixels = jpeg.read_pixels(content, header, channels) if header else None
    if pixels is not None:
        return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
    data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    image: Tensor = decode_jpeg(data, mode=_MODES[channels], apply_exif_orientation=True)
    return image


def _pillow(content: bytes) -> Tensor:
    """uint8 (1, 2, 3 or 4, H, W): grey or RGB, with alpha where the file has transparency."""
    if content[24:25] == b"\x10" and b"tRNS" in content[: content.find(b"IDAT")]:
        # Pillow compares the key with the high bytes, and other colours vanish with it.
        raise ValueError("a PNG of 16 bits with a transparent colour is not supported")
    with Image.open(io.BytesIO(content)) as opened:
        opened.seek(0)
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I;16"):
            array = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        elif image.mode in ("I", "F"):
            raise ValueError(f"pixels of 32 bits a channel ({image.mode}) have no defined range")
        else:
            array = np.array(image.convert(_plain_mode(image)))
    planes = torch.from_numpy(array)
    return planes[None] if planes.ndim == 2 else planes.permute(2, 0, 1).contiguous()


def _plain_mode(image: Image.Image) -> str:
    """The 8-bit mode that holds everything an image has."""
    see_through = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if image.mode in ("1", "L", "LA", "La"):
        return "LA" if see_through else "L"
    return "RGBA" if see_through else "RGB"


def _to_channels(image: Tensor, channels: int) -> Tensor:
    """From grey, grey and alpha, RGB or RGB and alpha to grey or RGB."""
    if image.shape[0] in (2, 4):
        image = _on_white(image)
    if image.shape[0] == channels:
        return image
    if channels == 3:
        return image.expand(3, -1, -1).contiguous()
    # ITU-R 601 in 16-bit fixed point, rounded: a grey stays the grey it was.
    red, green, blue = image.to(torch.int32)
    grey: Tensor = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    return grey.to(torch.uint8)[None]


def _on_white(image: Tensor) -> Tensor:
    """Composite on white what has alpha as its last channel, in rounded integers."""
    colour, alpha = image[:-1].to(torch.int32), image[-1:].to(torch.int32)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).to(torch.uint8)


def _reason(error: BaseException) -> str:
    """What went wrong in a few words, without the decoder's own source lines."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    # torchvision: "decode_jpeg, <source file>:171, Image is incomplete or truncated"
    return re.split(r"[:,] ", text)[-1].lower() if isinstance(error, RuntimeError) else text
