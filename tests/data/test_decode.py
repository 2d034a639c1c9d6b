"""Every kind of file against Pillow or, for 16 bits a channel, against the numbers written."""

import functools
import io
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
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


def jpeg() -> bytes:
    return encoded(Image.fromarray(smooth(3)), "JPEG")


def png() -> bytes:
    return encoded(Image.fromarray(pixels(3)), "PNG")


BROKEN: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"not an image, whatever its name says\n" * 20,
    "html": lambda: b"<!doctype html><title>404</title>",
    "zeros": lambda: bytes(1000),
    "truncated jpeg": lambda: jpeg()[: len(jpeg()) * 3 // 4],
    "jpeg header only": lambda: jpeg()[:40],
    "jpeg marker only": lambda: jpeg()[:3],
    "truncated png": lambda: png()[: len(png()) // 2],
    "png signature only": lambda: png()[:8],
    "png header only": lambda: png()[:33],
    "png palette header": lambda: encoded(Image.fromarray(pixels(3)).quantize(4), "PNG")[:60],
    "truncated webp": lambda: encoded(Image.fromarray(pixels(3)), "WEBP", lossless=True)[:200],
    "truncated gif": lambda: encoded(Image.fromarray(pixels(1)), "GIF")[:60],
    "truncated bmp": lambda: encoded(Image.fromarray(pixels(3)), "BMP")[:300],
    "truncated tiff": lambda: encoded(Image.fromarray(pixels(3)), "TIFF")[:300],
}


@pytest.mark.parametrize("name", ["a.jpg", "a: b.png"])
@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_say_why_in_one_line(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(BROKEN[kind]())
    complaint(path)


def test_the_reasons_say_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    assert complaint(path) == "no such file"
    path.write_bytes(b"text")
    assert complaint(path) == "not an image"
    path.write_bytes(BROKEN["truncated jpeg"]())
    assert any(word in complaint(path).lower() for word in ("truncated", "incomplete", "end"))


def test_an_error_survives_the_way_out_of_a_worker_process(tmp_path: Path) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(tmp_path / "a.png")
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, DecodeError)
    assert str(again) == str(caught.value)
    assert again.exit_code == caught.value.exit_code


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    reason = complaint(tmp_path)
    assert "directory" in reason.lower() or "folder" in reason.lower()
    assert str(tmp_path) not in reason, "the path stands in front already"


def damaged() -> Iterator[tuple[str, bytes]]:
    """Files with a few bytes changed, and files cut anywhere."""
    rng = np.random.default_rng(7)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    turned = encoded(Image.fromarray(smooth(3)), "JPEG", exif=exif)
    files = {**lossless(), **see_through(), "jpeg": jpeg(), "jpeg-exif": turned}
    for name, content in files.items():
        for _ in range(12):
            spoilt = bytearray(content)
            for place in rng.integers(0, len(spoilt), 4):
                spoilt[place] = rng.integers(0, 256)
            yield name, bytes(spoilt)
        for cut in rng.integers(1, len(content), 12):
            yield name, content[:cut]


# What the child does with each file: a decoder that crashes takes only the child with it.
CHILD = """
import sys, warnings
from pathlib import Path
from vertebra.data import DecodeError, decode
warnings.simplefilter("ignore")
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path.name, end=" ", flush=True)
    try:
        image = decode(path)
    except DecodeError as error:
        print("refused" if len(str(error).splitlines()) == 1 else f"escaped {error}")
    except Exception as error:
        print("escaped", type(error).__name__, " ".join(str(error).split()))
    else:
        print("read", image.dtype, image.shape[0])
"""


def with_wrong_checksums() -> dict[str, bytes]:
    """One flipped bit on the disk, in each part of a PNG."""
    content = png()
    data, end = content.index(b"IDAT"), content.index(b"IEND") - 4
    places = {"header": 20, "header-sum": 30, "data": data + 40, "data-sum": end - 2}
    files = {}
    for name, place in places.items():
        spoilt = bytearray(content)
        spoilt[place] ^= 1
        files[f"flipped-{name}"] = bytes(spoilt)
    return files


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each damaged file. One process for all: to load torch takes seconds."""
    folder = tmp_path_factory.mktemp("damaged")
    files = {f"{name}-{number}": content for number, (name, content) in enumerate(damaged())}
    files |= with_wrong_checksums()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    command = [sys.executable, "-c", CHILD, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = (done.stdout or done.stderr).splitlines()[-1]
    assert done.returncode == 0, f"the process died with {done.returncode} at '{last.strip()}'"
    outcome = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    assert set(outcome) == set(files)
    return outcome


def test_damage_ends_in_an_image_or_in_a_decode_error(ends: dict[str, str]) -> None:
    """A dataset of a million files holds every kind of damage: no other end is allowed."""
    assert not {name: end for name, end in ends.items() if end.startswith("escaped")}
    assert set(ends.values()) == {"refused", "read torch.uint8 3"}, "not all of it is harmful"


def test_png_with_a_flipped_bit_among_its_pixels(ends: dict[str, str]) -> None:
    assert ends["flipped-data"] == "refused", "the pixels are not those that were saved"
