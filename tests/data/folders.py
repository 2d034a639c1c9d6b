"""Makers and readers of image folders that several tests share."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vertebra.core import VertebraError
from vertebra.data import ImageDataset, Split, open_dataset


def draw(path: Path, shade: int = 0) -> Path:
    """A small image file, its folders too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (shade % 256, 100, 50)).save(path)
    return path


def fill(root: Path, names: Iterable[str], count: int = 10) -> Path:
    for name in names:
        for number in range(count):
            draw(root / name / f"{number:02d}.png", number)
    return root


def members(split: Split | None) -> list[str]:
    assert split is not None
    return [split.id(place) for place in range(len(split))]


def named_labels(dataset: ImageDataset) -> dict[str, str]:
    """Class by id, over all splits."""
    return {
        split.id(place): dataset.classes[label]
        for split in dataset.splits
        for place, label in enumerate(split.labels.tolist())
    }


def refused(path: Path, **options: Any) -> str:
    """The one line with which a folder is refused."""
    with pytest.raises(VertebraError) as caught:
        open_dataset(path, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert caught.value.exit_code == 2
    return message
