"""The machine's ceilings, against the same work timed here."""

import time

import pytest
import torch

from vertebra.machine import Roofline, measure_roofline


def test_the_ceilings_are_those_of_this_machine() -> None:
    """A large product and a large copy, timed by hand, reach them and do not beat them by much."""
    before = torch.get_num_threads()
    roof = measure_roofline(seconds=0.6)
    assert torch.get_num_threads() == before
    matrix = torch.ones((1024, 1024))
    torch.mm(matrix, matrix)
    start = time.perf_counter()
    for _ in range(5):
        torch.mm(matrix, matrix)
    rate = 5 * 1024**3 / (time.perf_counter() - start)
    # A shared machine: what is asked is the order of magnitude, and the unit.
    assert 0.1 < rate / roof.macs_per_second["fp32"] < 4
    assert set(roof.macs_per_second) == {"fp32", "bf16"}
    assert 1e8 < roof.bytes_per_second < 1e13


def test_the_ridge() -> None:
    roof = Roofline({"fp32": 100e9, "bf16": 250e9}, 40e9, 2)
    assert roof.ridge() == pytest.approx(2.5)
    assert roof.ridge("bf16") == pytest.approx(6.25)
