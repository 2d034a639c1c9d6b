"""The view from a file's bytes beside the view of the decoded image, and beside Pillow's."""

import io

import numpy as np
import pytest
import torch
from pictures import ORIENTATION, encoded
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms import v2

from vertebra.core import Preprocessing, VertebraError
from vertebra.data import DecodeError, jpeg
from vertebra.data.augment import augmentation, scaled_augmentation
from vertebra.data.augment.scaled import fraction
from vertebra.data.decode import decode_bytes
from vertebra.data.jpeg import Box, shrunk
from vertebra.runs.recipe import AugmentSection

MEAN = (0.485, 0.456, 0.406)
RESIZED = AugmentSection(crop="resized", scale=(0.08, 1.0), flip=True)
SECTIONS = {
    "resized": RESIZED,
    "everything": RESIZED.model_copy(
        update={"policy": "randaugment", "jitter": 0.4, "erase": 0.5, "interpolation": "bicubic"}
    ),
    "pad": AugmentSection(crop="pad", padding=4, flip=True),
    "none": AugmentSection(crop="none", flip=True),
}


def view(size: int, channels: int = 3) -> Preprocessing:
    return Preprocessing(size, size + size // 8, MEAN[:channels], (0.2,) * channels)


def photograph(kind: str = "JPEG", **options: object) -> bytes:
    return encoded(Image.fromarray(load_sample_image("flower.jpg")), kind, **options)


def both(
    content: bytes, section: AugmentSection, preprocessing: Preprocessing, seed: int
) -> tuple[Tensor, Tensor]:
    """The view from bytes and the view of the whole image, with equally many draws."""
    channels = preprocessing.channels
    torch.manual_seed(seed)
    small = scaled_augmentation(section, preprocessing, channels)(content, "a")
    after = torch.rand(1)
    torch.manual_seed(seed)
    whole = augmentation(section, preprocessing)(decode_bytes(content, "a", channels))
    assert torch.rand(1) == after
    assert small.shape == whole.shape
    return small, whole


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SECTIONS)
def test_a_box_that_is_not_shrunk_gives_the_same_pixels(name: str, channels: int) -> None:
    content = photograph(quality=90)  # 640x427: nothing of it is twice 256
    for seed in range(8):
        small, whole = both(content, SECTIONS[name], view(256, channels), seed)
        assert torch.equal(small, whole)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("name", ["resized", "pad", "none"])
def test_a_box_that_is_shrunk_shows_the_same(name: str, orientation: int) -> None:
    """Close to the view of the whole image, and far from every other view of it."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = photograph(quality=90, exif=exif)
    for seed in range(6):
        small, whole = both(content, SECTIONS[name], view(32), seed)
        assert not torch.equal(small, whole), "the decoder did shrink"
        error = (small.float() - whole.float()).abs().mean()
        assert error < 6, "edges lie up to half a pixel apart"
        for other in (whole.flip(-1), whole.flip(-2), whole.mT, whole.roll(2, -1)):
            assert error < 0.7 * (small.float() - other.float()).abs().mean()


def test_a_shrunk_box_is_pillows() -> None:
    """Pillow's own way: ``draft`` while decoding, then ``crop`` and ``resize``."""
    content = photograph(quality=90)
    preprocessing = Preprocessing(40, 40, MEAN, (0.2,) * 3)
    section = AugmentSection(crop="resized", scale=(0.08, 1.0))
    run, factors = scaled_augmentation(section, preprocessing), set()
    for seed in range(20):
        torch.manual_seed(seed)
        ours = run(content, "a")
        torch.manual_seed(seed)
        crop = v2.RandomResizedCrop(40, (0.08, 1.0)).make_params([torch.empty(3, 427, 640)])
        box = Box(crop["top"], crop["left"], crop["height"], crop["width"])
        factor = fraction(box, (40, 40))
        factors.add(factor)
        with Image.open(io.BytesIO(content)) as opened:
            opened.draft("RGB", (640 // factor, 427 // factor))
            top, left, height, width = shrunk(box, factor)
            part = (left, top, left + width, top + height)
            pillow = opened.crop(part).resize((40, 40), Image.Resampling.BILINEAR)
        expected = torch.from_numpy(np.array(pillow)).permute(2, 0, 1)
        assert (ours.int() - expected.int()).abs().max() <= 1
    assert factors == {2, 4, 8}


@pytest.mark.parametrize("size", [(7, 7), (32, 48), (224, 224)])
def test_what_is_left_of_a_box_is_at_least_the_output(size: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    for _ in range(3000):
        height, width = generator.integers(1, 2500, 2).tolist()
        top, left = generator.integers(0, 1500, 2).tolist()
        box = Box(top, left, height, width)
        factor = fraction(box, size)
        part = shrunk(box, factor)
        if factor > 1:
            assert part.height >= size[0]
            assert part.width >= size[1]
        assert factor == 8 or height < 2 * factor * size[0] or width < 2 * factor * size[1]
        assert part.top + part.height <= -(-(top + height) // factor)
        assert abs(part.top * factor - top) <= factor / 2
        assert abs((part.left + part.width) * factor - left - width) <= factor / 2


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_other_files_are_decoded_in_full(kind: str) -> None:
    content = photograph(kind)
    small, whole = both(content, SECTIONS["everything"], view(32), 0)
    assert torch.equal(small, whole)


def test_colours_that_are_not_shrunk() -> None:
    inks = Image.fromarray(load_sample_image("flower.jpg")).convert("CMYK")
    small, whole = both(encoded(inks, "JPEG"), RESIZED, view(32), 0)
    assert torch.equal(small, whole)


def test_errors_are_those_of_decoding(capfd: pytest.CaptureFixture[str]) -> None:
    run = scaled_augmentation(RESIZED, view(32))
    content = photograph()
    strip = encoded(Image.new("RGB", (2000, 12)), "JPEG")
    for broken in (content[: len(content) // 2], content[:40], b"text", b"", strip):
        with pytest.raises(DecodeError) as expected:
            decode_bytes(broken, "shard/a.jpg")
        with pytest.raises(DecodeError) as caught:
            run(broken, "shard/a.jpg")
        assert str(caught.value) == str(expected.value)


def test_faults_that_torchvision_overlooks_are_overlooked(
    capfd: pytest.CaptureFixture[str],
) -> None:
    content = photograph(restart_marker_rows=1)
    place = content.index(b"\xff\xd3", len(content) // 2)
    spoilt = content[:place] + b"\xff\xd6" + content[place + 2 :]  # restarts out of order
    small, whole = both(spoilt, RESIZED, view(32), 1)
    assert torch.equal(small, whole), "and then nothing is shrunk"


def test_without_simplejpeg_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "AVAILABLE", False)
    with pytest.raises(VertebraError, match="pip install simplejpeg"):
        scaled_augmentation(RESIZED, view(32))


def test_the_photograph_is_upright() -> None:
    """Against Pillow's own reading of the orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = 5
    content = photograph(quality=95, exif=exif)
    with Image.open(io.BytesIO(content)) as opened:
        upright = ImageOps.exif_transpose(opened).resize((32, 47), Image.Resampling.BILINEAR)
    square = Preprocessing(32, 32, MEAN, (0.2,) * 3)
    small = scaled_augmentation(AugmentSection(crop="none"), square)(content, "a")
    expected = torch.from_numpy(np.array(upright)).permute(2, 0, 1)[:, 8:40]
    assert (small.float() - expected.float()).abs().mean() < 4
