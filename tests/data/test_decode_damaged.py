"""Files that hold no readable image: each ends in one line that says why, and in nothing else."""

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pictures import (
    ORIENTATION,
    complaint,
    encoded,
    lossless,
    pixels,
    see_through,
    smooth,
)
from PIL import Image

from vertebra.data import DecodeError, decode


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
