"""Pictures that look like photographs, and folders of them with faults planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def scene(number: int, size: tuple[int, int] = (256, 256)) -> Image.Image:
    """A picture of its own with the spectrum of natural ones: amplitudes of one over frequency."""
    width, height = size
    generator = np.random.default_rng((7, number))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    frequency[0, 0] = 1
    planes: list[NDArray[np.uint8]] = []
    for _ in range(3):
        noise = np.fft.fft2(generator.standard_normal((64, 64)))
        plane = np.fft.ifft2(noise / frequency).real
        plane = (plane - plane.mean()) / plane.std() * 45 + 120
        planes.append(plane.clip(0, 255).astype(np.uint8))
    return Image.fromarray(np.stack(planes, axis=-1)).resize((width, height), Image.BICUBIC)


def clean_folder(root: Path, each: int = 20, size: tuple[int, int] = (256, 240)) -> Path:
    """Two classes in three splits, nothing wrong with any image."""
    number = 0
    for split, count in (("train", each), ("val", each // 2), ("test", each // 2)):
        for name in ("oak", "elm"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                scene(number, size).save(folder / f"{index:03d}.jpg", quality=90)
                number += 1
    return root
