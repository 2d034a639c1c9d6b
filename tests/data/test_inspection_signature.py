"""Hash and signature, against the library imagehash and against what should not change them."""

from __future__ import annotations

import io
from collections.abc import Callable

import imagehash
import numpy as np
import pytest
from doubles import scene
from PIL import Image, ImageEnhance

from vertebra.data.inspection.duplicates import LEVELS, MOST_BITS
from vertebra.data.inspection.signature import Look, agreement, look
from vertebra.data.photographs import photograph, picture

SCENES = [scene(number, (200 + number, 150)) for number in range(40)]


def seen(image: Image.Image) -> Look:
    found = look(image)
    assert found is not None
    return found


def same(one: Look, other: Look) -> bool:
    bits = (one.hash ^ other.hash).bit_count()
    agree = agreement(one.signature[None], other.signature[None])[0]
    return bits <= MOST_BITS and bool(agree >= LEVELS[0][0])


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


@pytest.mark.parametrize("number", range(0, 40, 4))
def test_hash_is_that_of_imagehash(number: int) -> None:
    assert f"{seen(SCENES[number]).hash:016x}" == str(imagehash.phash(SCENES[number]))


def test_hash_of_a_photograph_is_that_of_imagehash() -> None:
    from vertebra.core import Preprocessing

    pixels = photograph(None, Preprocessing(224, 256, (0.5,) * 3, (0.2,) * 3), (224, 224))
    image = picture(pixels)
    assert f"{seen(image).hash:016x}" == str(imagehash.phash(image))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg 90": lambda image: jpeg(image, 90),
    "jpeg 50": lambda image: jpeg(image, 50),
    "half": lambda image: image.resize((image.width // 2, image.height // 2), Image.BICUBIC),
    "double": lambda image: image.resize((image.width * 2, image.height * 2), Image.BICUBIC),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_picture_in_another_file_is_found(change: str) -> None:
    found = [same(seen(image), seen(CHANGES[change](image))) for image in SCENES]
    assert sum(found) >= 0.95 * len(found)


def test_other_pictures_are_not() -> None:
    looks = [seen(image) for image in SCENES]
    pairs = [(a, b) for place, a in enumerate(looks) for b in looks[:place]]
    assert len(pairs) == 780
    assert not any(same(a, b) for a, b in pairs)
    mirrored = [seen(image.transpose(Image.FLIP_LEFT_RIGHT)) for image in SCENES]
    assert not any(same(a, b) for a, b in zip(looks, mirrored, strict=True))


def test_agreement_is_the_cosine() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.integers(-127, 128, (2, 50, 99), dtype=np.int8)
    plain = [
        float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))
        for a, b in zip(one.astype(float), other.astype(float), strict=True)
    ]
    np.testing.assert_allclose(agreement(one, other), plain, rtol=1e-5, atol=1e-6)


def test_what_is_flat_or_a_mere_gradient_has_none() -> None:
    assert look(Image.new("RGB", (64, 64), (90, 90, 90))) is None
    noise = np.random.default_rng(0).normal(128, 2, (256, 256)).astype(np.uint8)
    assert look(Image.fromarray(noise)) is None
    across = np.tile(np.linspace(0, 255, 128, dtype=np.uint8), (128, 1))
    assert look(Image.fromarray(across)) is None
