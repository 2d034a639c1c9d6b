"""One image file to one tensor, the same way for every kind of file.

torchvision decodes where it gives the right pixels; Pillow takes what torchvision cannot read or
reads as something else (palette indices, transparency by colour key).
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg, decode_png, decode_webp
from torchvision.transforms.v2 import functional as tvf

from vertebra.core import VertebraError

_MODES = {1: ImageReadMode.GRAY, 3: ImageReadMode.RGB}


class DecodeError(VertebraError):
    """A file that holds no readable image; ``reason`` says why, the message names the file too."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


def decode(path: str | Path, channels: int = 3) -> Tensor:
    """Read an image file as uint8 of shape (channels, height, width); 1 channel is grey, 3 RGB.

    Upright by its EXIF orientation, transparency composited on white, 16 bits a channel cut to the
    high byte, CMYK converted, the first frame of an animation.

    Raises:
        DecodeError: the file is missing, truncated or no image.
        ValueError: a number of channels other than 1 and 3.
    """
    if channels not in _MODES:
        raise ValueError(f"an image is read with 1 or 3 channels, not {channels}")
    try:
        content = Path(path).read_bytes()
        image = _decoder(content)(content, channels)
    except (OSError, RuntimeError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DecodeError(path, _reason(error)) from None
    return _to_channels(image, channels)


def _decoder(content: bytes) -> Callable[[bytes, int], Tensor]:
    """Which decoder a file needs, by its first bytes and not by its name."""
    if content[:3] == b"\xff\xd8\xff":
        return _jpeg
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        colour_type = content[25] if len(content) > 25 else 0
        palette = colour_type == 3 or b"tRNS" in content[: content.find(b"IDAT")]
        return _pillow if palette else _png
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        # The extended header's flags for EXIF (0x08) and animation (0x02).
        extended = content[12:16] == b"VP8X" and len(content) > 20 and content[20] & 0x0A
        return _pillow if extended else _webp
    return _pillow


def _bytes_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _jpeg(content: bytes, channels: int) -> Tensor:
    data = _bytes_tensor(content)
    image: Tensor = decode_jpeg(data, mode=_MODES[channels], apply_exif_orientation=True)
    return image


def _png(content: bytes, channels: int) -> Tensor:
    data = _bytes_tensor(content)
    image: Tensor = decode_png(data, ImageReadMode.UNCHANGED, apply_exif_orientation=True)
    if image.dtype == torch.uint16:
        image = (image.to(torch.int32) >> 8).to(torch.uint8)
    return image


def _webp(content: bytes, channels: int) -> Tensor:
    image: Tensor = decode_webp(_bytes_tensor(content), ImageReadMode.UNCHANGED)
    return image


def _pillow(content: bytes, channels: int) -> Tensor:
    with Image.open(io.BytesIO(content)) as opened:
        opened.seek(0)
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I;16"):
            array = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        elif image.mode in ("I", "F"):
            raise ValueError(f"pixels of {image.mode} (32 bits a channel) have no defined range")
        else:
            see_through = image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info
            array = np.array(image.convert("RGBA" if see_through else "RGB"))
    planes = torch.from_numpy(array)
    return planes[None] if planes.ndim == 2 else planes.permute(2, 0, 1).contiguous()


def _to_channels(image: Tensor, channels: int) -> Tensor:
    """From grey, grey and alpha, RGB or RGB and alpha to grey or RGB."""
    if image.shape[0] in (2, 4):
        image = _on_white(image)
    if image.shape[0] == channels:
        return image
    if channels == 3:
        return image.expand(3, -1, -1).contiguous()
    grey: Tensor = tvf.rgb_to_grayscale(image)
    return grey


def _on_white(image: Tensor) -> Tensor:
    """Composite on white what has alpha as its last channel, in rounded integers."""
    colour, alpha = image[:-1].to(torch.int32), image[-1:].to(torch.int32)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).to(torch.uint8)


def _reason(error: BaseException) -> str:
    """What went wrong without the decoder's own source lines."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text.rpartition(": ")[2] if isinstance(error, RuntimeError) else text
