"""One finished run for all tests of commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import TINY, run
from PIL import Image


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two classes of tiny images, and the folder it was trained on."""
    root = tmp_path_factory.mktemp("finished")
    for label, value in (("dark", 20), ("light", 220)):
        (root / "images" / label).mkdir(parents=True)
        for index in range(12):
            pixels = np.full((16, 16, 3), value + index, dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / label / f"{index}.png")
    code, out, err = run("train", str(root / "images"), *TINY, "--out", str(root / "run"))
    assert code == 0, err
    assert out.splitlines()[-1] == str(root / "run")
    return root
