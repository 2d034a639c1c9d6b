"""Every kind of file against Pillow or, for 16 bits a channel, against the numbers written."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import (
    HEIGHT,
    ORIENTATION,
    WIDTH,
    chunk,
    complaint,
    difference,
    encoded,
    grey_of,
    lossless,
    pixels,
    planes,
    png16,
    see_through,
    smooth,
    values16,
    with_pillow,
)
from PIL import Image

from vertebra.data import DecodeError, decode
from vertebra.data.decode import decode_bytes

# JPEG


@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpeg_is_pillows(tmp_path: Path, quality: int, subsampling: int) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(3)).save(path, quality=quality, subsampling=subsampling)
    assert difference(decode(path), with_pillow(path)) <= 1
    assert difference(decode(path), planes(smooth(3))) < 32, "and shows what was saved"


def test_progressive_jpeg_is_pillows(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(3)).save(path, progressive=True)
    assert difference(decode(path), with_pillow(path)) <= 1


def test_grey_jpeg_has_three_equal_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(1)).save(path)
    assert difference(decode(path), with_pillow(path)) == 0
    assert difference(decode(path, channels=1), with_pillow(path, "L")) == 0


def test_cmyk_jpeg_is_pillows(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(4), mode="CMYK").save(path, quality=95)
    expected = planes(np.asarray(Image.open(path).convert("RGB")))
    assert difference(decode(path), expected) <= 2
    assert (decode(path, channels=1) - grey_of(expected)).abs().max() <= 2


def test_colour_jpeg_as_grey_is_its_luma(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(3)).save(path, quality=95)
    grey = decode(path, channels=1)
    assert grey.shape == (1, HEIGHT, WIDTH)
    assert (grey - grey_of(with_pillow(path))).abs().max() <= 2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
def test_exif_orientation(tmp_path: Path, kind: str, orientation: int, channels: int) -> None:
    path = tmp_path / f"a.{kind}"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, object] = {"lossless": True} if kind == "webp" else {}
    Image.fromarray(smooth(3)).save(path, exif=exif, **options)
    image = decode(path, channels)
    turned = orientation >= 5
    assert image.shape == (channels, *((WIDTH, HEIGHT) if turned else (HEIGHT, WIDTH)))
    assert difference(image, with_pillow(path, "RGB" if channels == 3 else "L")) <= 2


def test_exif_orientation_behind_the_pixels_of_a_png(tmp_path: Path) -> None:
    # PNG's third edition lets eXIf come behind IDAT; phones' editors do it.
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    content = encoded(Image.fromarray(smooth(3)), "PNG")
    end = chunk(b"IEND", b"")
    assert content.endswith(end)
    block = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    path.write_bytes(content.removesuffix(end) + block + end)
    assert with_pillow(path).shape == (3, WIDTH, HEIGHT)
    assert difference(decode(path), with_pillow(path)) == 0


# Formats without loss


@pytest.mark.parametrize("name", lossless())
def test_lossless_formats_are_exact(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(lossless()[name])
    assert difference(decode(path), with_pillow(path)) == 0
    assert difference(decode(path, channels=1), with_pillow(path, "L")) <= 1


GREY = [name for name in lossless() if "grey" in name or name.endswith(("1bit", "pgm"))]


@pytest.mark.parametrize("name", GREY)
def test_grey_is_read_as_the_same_grey(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(lossless()[name])
    assert torch.equal(decode(path, channels=1)[0], decode(path)[0])
    assert difference(decode(path, channels=1), with_pillow(path, "L")) == 0


def test_lossless_pixels_are_those_that_were_saved(tmp_path: Path) -> None:
    for kind in ("PNG", "WEBP", "BMP", "TIFF", "PPM"):
        path = tmp_path / kind
        options = {"lossless": True} if kind == "WEBP" else {}
        Image.fromarray(pixels(3)).save(path, kind, **options)
        assert difference(decode(path), planes(pixels(3))) == 0, kind


@pytest.mark.parametrize("name", see_through())
def test_transparency_is_composited_on_white(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(see_through()[name])
    with Image.open(path) as opened:
        alpha = np.asarray(opened.convert("RGBA"))[..., 3]
    assert alpha.min() < 255, "the file is see-through at all"
    image = decode(path)
    assert difference(image, with_pillow(path)) <= 1
    assert difference(decode(path, channels=1), with_pillow(path, "L")) <= 2
    clear = torch.from_numpy(alpha == 0)
    assert (image[:, clear] == 255).all()


def test_opaque_and_clear_pixels_are_exact(tmp_path: Path) -> None:
    array = pixels(4)
    array[..., 3] = np.where(array[..., 3] > 127, 255, 0)
    path = tmp_path / "a.png"
    Image.fromarray(array).save(path)
    expected = np.where(array[..., 3:] == 255, array[..., :3], 255).astype(np.uint8)
    assert difference(decode(path), planes(expected)) == 0


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(tmp_path: Path, kind: str) -> None:
    first, second = (Image.fromarray(pixels(3, seed)).quantize(16) for seed in (1, 2))
    if kind != "GIF":
        first, second = first.convert("RGB"), second.convert("RGB")
    options = {"lossless": True} if kind == "WEBP" else {}
    path = tmp_path / "a"
    first.save(path, kind, save_all=True, append_images=[second], **options)
    with Image.open(path) as opened:
        assert getattr(opened, "n_frames", 1) == 2
    assert difference(decode(path), planes(np.asarray(first.convert("RGB")))) == 0


# 16 bits a channel: the high byte


@pytest.mark.parametrize(("channels", "colour_type"), [(1, 0), (3, 2)])
def test_png_of_16_bits_is_cut_to_the_high_byte(
    tmp_path: Path, channels: int, colour_type: int
) -> None:
    values = values16(channels)
    path = tmp_path / "a.png"
    path.write_bytes(png16(values, colour_type))
    expected = planes((values >> 8).astype(np.uint8))
    assert difference(decode(path), expected.expand(3, -1, -1)) == 0
    if channels == 1:
        assert difference(decode(path, channels=1), expected) == 0


@pytest.mark.parametrize(("channels", "colour_type"), [(2, 4), (4, 6)])
def test_png_of_16_bits_with_alpha(tmp_path: Path, channels: int, colour_type: int) -> None:
    values = values16(channels)
    path = tmp_path / "a.png"
    path.write_bytes(png16(values, colour_type))
    high = (values >> 8).astype(np.float64)
    alpha = high[..., -1:] / 255
    exact = high[..., :-1] * alpha + 255 * (1 - alpha)
    difference = decode(path).double() - planes(exact).expand(3, -1, -1)
    assert difference.abs().max() <= 1


@pytest.mark.parametrize(("channels", "colour_type"), [(1, 0), (3, 2)])
def test_png_of_16_bits_with_a_colour_key_is_refused(
    tmp_path: Path, channels: int, colour_type: int
) -> None:
    """Better left out and named than read with other colours made transparent."""
    values = values16(channels)
    path = tmp_path / "a.png"
    path.write_bytes(
        png16(values, colour_type, chunk(b"tRNS", values[0, 0].astype(">u2").tobytes()))
    )
    with pytest.raises(DecodeError, match="16 bits"):
        decode(path)


def test_tiff_of_16_bits_is_cut_to_the_high_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(values16(1)).save(path)
    with Image.open(path) as opened:
        assert opened.mode.startswith("I;16")
    expected = planes((values16(1) >> 8).astype(np.uint8))
    assert difference(decode(path, channels=1), expected) == 0
    assert difference(decode(path), expected.expand(3, -1, -1)) == 0


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_32_bits_a_channel_have_no_range(tmp_path: Path, kind: type[np.generic]) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(values16(1).astype(kind)).save(path)
    assert "32 bits" in complaint(path)


# Names, shapes and what cannot be read


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.gif", "a.tif", "a"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_content_decides_and_not_the_extension(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(smooth(3)).save(path, kind)
    assert difference(decode(path), with_pillow(path)) <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (100, 1)])
def test_slender_images(tmp_path: Path, size: tuple[int, int]) -> None:
    for kind in ("PNG", "JPEG", "WEBP", "GIF"):
        path = tmp_path / "a"
        Image.new("RGB", size, (200, 100, 50)).save(path, kind)
        assert difference(decode(path), with_pillow(path)) <= 1, kind


@pytest.mark.parametrize("size", [(1, 101), (2000, 19)])
def test_a_strip_is_no_picture(tmp_path: Path, size: tuple[int, int]) -> None:
    for kind in ("PNG", "JPEG"):
        Image.new("RGB", size).save(tmp_path / "a", kind)
        with pytest.raises(DecodeError, match=f"{size[0]}x{size[1]} pixels are a strip"):
            decode(tmp_path / "a")


def test_interlaced_png(tmp_path: Path) -> None:
    """Adam7 with one pixel in each pass's place, written by hand: Pillow writes none."""
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2)]
    passes += [(0, 1, 2, 2), (1, 0, 2, 1)]
    raw = b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in values[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert difference(decode(path, channels=1), planes(values)) == 0


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_numbers_of_channels_are_a_callers_mistake(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(ValueError, match="1 or 3"):
        decode(path, channels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_file_that_was_read_already(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    Image.fromarray(smooth(3)).save(path, kind)
    content = path.read_bytes()
    assert difference(decode_bytes(content, "x", 1), decode(path, 1)) == 0
    with pytest.raises(DecodeError, match=r"^shard\.tar/a: ") as caught:
        decode_bytes(content[: len(content) // 2], "shard.tar/a")
    path.write_bytes(content[: len(content) // 2])
    assert caught.value.reason == complaint(path), "one reason, however the bytes came"
    with pytest.raises(ValueError, match="1 or 3"):
        decode_bytes(content, "a", 2)
