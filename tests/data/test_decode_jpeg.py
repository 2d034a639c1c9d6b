"""JPEG by simplejpeg: to the bit torchvision's pixels, and at a fraction Pillow's."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import ORIENTATION, encoded
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from vertebra.data import jpeg
from vertebra.data.decode import DecodeError, decode_bytes

PARTS = [(160, 120), (161, 119), (97, 8), (3, 50), (1, 1)]


def photograph(width: int, height: int) -> Image.Image:
    return Image.fromarray(load_sample_image("china.jpg")[100 : 100 + height, 200 : 200 + width])


def with_torchvision(content: bytes, channels: int = 3) -> Tensor:
    mode = {1: ImageReadMode.GRAY, 3: ImageReadMode.RGB}[channels]
    data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    image: Tensor = decode_jpeg(data, mode=mode, apply_exif_orientation=True)
    return image


def read(content: bytes, channels: int = 3) -> Tensor | None:
    """By simplejpeg alone; None where it leaves the file to torchvision."""
    header = jpeg.read_header(content)
    pixels = jpeg.read_pixels(content, header, channels) if header else None
    if pixels is None or header is None:
        return None
    assert pixels.shape == (header.height, header.width, channels)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", PARTS)
def test_pixels_are_torchvisions(size: tuple[int, int], mode: str, channels: int) -> None:
    image = photograph(*size).convert(mode)
    kinds = [{"progressive": True}, {"restart_marker_rows": 1}, {"optimize": True}]
    kinds += [{"subsampling": kind, "quality": 90} for kind in (0, 1, 2)]
    for options in kinds:
        content = encoded(image, "JPEG", **options)
        pixels = read(content, channels)
        assert pixels is not None
        assert torch.equal(pixels, with_torchvision(content, channels)), options
        assert torch.equal(decode_bytes(content, "a", channels), pixels)


def turned(orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(photograph(64, 48), "JPEG", exif=exif, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_torchvisions(orientation: int) -> None:
    content = turned(orientation)
    pixels = read(content)
    assert pixels is not None
    assert torch.equal(pixels, with_torchvision(content))
    upright = read(encoded(photograph(64, 48), "JPEG"))
    assert upright is not None
    assert (pixels.shape == upright.shape and torch.equal(pixels, upright)) == (orientation == 1)


def spoilt_exif() -> dict[str, bytes]:
    content = turned(6)
    place = content.index(b"Exif\0\0")
    segment = content[place - 4 : place + 6 + 8]
    length = int.from_bytes(content[place - 2 : place])
    whole = content[place - 4 : place - 2 + length]
    assert segment[:2] == b"\xff\xe1"
    rest = content.replace(whole, b"")
    comment = b"\xff\xfe\x00\x06\xff\xda\xff\xe1"
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='6'/>"
    return {
        "as it was": content,
        "a comment before": content[:2] + comment + content[2:],
        "filling before": content[: place - 4] + b"\xff\xff" + content[place - 4 :],
        "after another segment": rest[:20] + whole + rest[20:],
        "none": rest,
        "xmp only": rest[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2) + xmp + rest[2:],
        "out of range": turned(9),
        "zero": turned(0),
        "cut off inside": content[:place] + b"Exif\0\0MM\0*" + content[place + 10 :],
        "not a table": content[: place + 6] + b"XX" + content[place + 8 :],
        "the word as data": content[:2] + b"\xff\xfe\x00\x08Exif\0\0" + rest[2:],
    }


@pytest.mark.parametrize("name", spoilt_exif())
def test_orientation_is_found_where_torchvision_finds_it(name: str) -> None:
    content = spoilt_exif()[name]
    assert torch.equal(decode_bytes(content, "a"), with_torchvision(content))


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_other_colours_are_left_to_torchvision(mode: str) -> None:
    """Four inks, and RGB that was not turned into YCbCr."""
    options = {"keep_rgb": True} if mode == "RGB" else {}
    content = encoded(photograph(40, 30).convert(mode), "JPEG", **options)
    assert jpeg.read_header(content) is None
    assert torch.equal(decode_bytes(content, "a"), with_torchvision(content))


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(160, 120), (161, 119), (99, 203)])
def test_a_fraction_is_pillows(size: tuple[int, int], mode: str, factor: int) -> None:
    for options in ({}, {"progressive": True}, {"subsampling": 0}):
        content = encoded(photograph(*size).convert(mode), "JPEG", quality=90, **options)
        header = jpeg.read_header(content)
        assert header is not None
        pixels = jpeg.read_pixels(content, header, 3 if mode == "RGB" else 1, factor)
        with Image.open(io.BytesIO(content)) as opened:
            opened.draft(None, (size[0] // factor, size[1] // factor))
            expected = np.asarray(opened)
        assert expected.shape[:2] == (-(-size[1] // factor), -(-size[0] // factor))
        assert pixels is not None
        assert np.array_equal(pixels.squeeze(-1) if mode == "L" else pixels, expected)


def damaged() -> list[bytes]:
    rng = np.random.default_rng(3)
    files = []
    for options in ({}, {"progressive": True}, {"restart_marker_rows": 1}):
        whole = encoded(photograph(100, 80), "JPEG", **options)
        files += [whole[:cut] for cut in rng.integers(3, len(whole), 12).tolist()]
        for _ in range(40):
            spoilt = bytearray(whole)
            spoilt[rng.integers(2, len(whole))] = rng.integers(0, 256)
            files.append(bytes(spoilt))
    return files


def test_damaged_files_end_as_torchvision_ends_them(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With simplejpeg and without it: the same pixels, or the same words."""

    def outcome(content: bytes) -> Tensor | str:
        try:
            return decode_bytes(content, "a")
        except DecodeError as error:
            return error.reason

    files = damaged()
    ours = [outcome(content) for content in files]
    with monkeypatch.context() as patch:
        patch.setattr(jpeg, "simplejpeg", None)
        theirs = [outcome(content) for content in files]
    capfd.readouterr()  # libjpeg writes its warnings past Python
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, str) or isinstance(other, str):
            assert one == other
        else:
            assert torch.equal(one, other)
    assert 20 < sum(isinstance(one, str) for one in ours) < 100


def test_without_simplejpeg_the_pixels_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = turned(6)
    with_it = decode_bytes(content, "a")
    monkeypatch.setattr(jpeg, "simplejpeg", None)
    assert jpeg.read_header(content) is None
    assert torch.equal(decode_bytes(content, "a"), with_it)
