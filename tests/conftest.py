"""Small data and small runs that several tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """A maker of class folders of tiny JPEG files whose brightness tells the class."""

    def make(
        name: str = "images", classes: tuple[str, ...] = ("dark", "light"), each: int = 12
    ) -> Path:
        generator = np.random.default_rng(0)
        root = tmp_path / name
        for place, label in enumerate(classes):
            folder = root / label
            folder.mkdir(parents=True)
            low = 200 * place // max(len(classes) - 1, 1)
            for index in range(each):
                pixels = generator.integers(low, low + 50, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index:03d}.jpg")
        return root

    return make
