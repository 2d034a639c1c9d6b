"""What every test of anatomy runs under."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The networks here are small: threads that wait for each other cost more than they bring.

    On a busy machine, where one of two threads is often not running, up to fifty times more.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
