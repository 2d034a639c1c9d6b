"""Small data and small runs that several tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# A suite that draws new examples each time would fail on whoever happens to run it. To look for
# more: pytest --hypothesis-profile=explore.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("same")

# Rooms whose tests run small networks, one at a time.
_ONE_THREAD = {"anatomy", "choice", "evidence", "nn", "zoo"}

MakeFolder = Callable[..., Path]


def _keep_to_one_core() -> None:
    """Of several workers each has a core of its own, so that none waits for another's threads.

    Before PyTorch is imported, which counts its threads then: two that share a core wait for each
    other for most of the time.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker.startswith("gw") and hasattr(os, "sched_setaffinity"):
        assert "torch" not in sys.modules
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker[2:]) % len(cores)]})


# Not in a hook: those are called when every folder's conftest, and with it PyTorch, is imported.
_keep_to_one_core()


@pytest.fixture(autouse=True)
def _one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """On small maps, threads that wait for each other cost more than they bring.

    On a busy machine, where one of two threads is often not running, up to fifty times more.
    """
    if request.path.parent.name not in _ONE_THREAD:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_folder_at() -> MakeFolder:
    """A maker of class folders of tiny JPEG files whose brightness tells the class."""

    def make(root: Path, classes: tuple[str, ...] = ("dark", "light"), each: int = 12) -> Path:
        generator = np.random.default_rng(0)
        for place, label in enumerate(classes):
            folder = root / label
            folder.mkdir(parents=True)
            low = 200 * place // max(len(classes) - 1, 1)
            for index in range(each):
                pixels = generator.integers(low, low + 50, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index:03d}.jpg")
        return root

    return make


@pytest.fixture
def make_folder(tmp_path: Path, make_folder_at: MakeFolder) -> MakeFolder:
    """The same by a name in the test's own folder."""

    def make(
        name: str = "images", classes: tuple[str, ...] = ("dark", "light"), each: int = 12
    ) -> Path:
        return make_folder_at(tmp_path / name, classes, each)

    return make
