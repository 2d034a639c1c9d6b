"""The largest batch that trains within a limit of memory."""

import itertools
from typing import Any

import pytest
import torch
from counting import Run
from torch import nn

from vertebra.anatomy import largest_batch, memory_of
from vertebra.anatomy.memory import _largest
from vertebra.core import VertebraError
from vertebra.zoo import create


@pytest.mark.parametrize(
    ("name", "size", "limit"),
    [("resnet20", 32, 60_000_000), ("resnet20", 32, 10**9), ("mobilenet_v3_small", 64, 10**8)],
)
def test_the_largest_batch(name: str, size: int, limit: int) -> None:
    net = create(name, num_classes=10, seed=0)
    best = largest_batch(net, limit, (3, size, size), "bf16", "momentum")

    def peak(batch: int) -> int:
        return memory_of(net, (3, size, size), batch, "bf16", "momentum").training_peak

    assert best > 1
    assert peak(best) <= limit < peak(best + 1)


@pytest.mark.parametrize("limit", [0, 4, 5, 99, 100, 101, 1234, 99_999])
def test_the_search_for_the_largest(limit: int) -> None:
    """On a function with a kink, as where another layer becomes the peak."""

    def peak(batch: int) -> int:
        return max(3 + 2 * batch, 7 * batch - 80, 11 * batch - 900)

    by_hand = next(b for b in itertools.count() if peak(b + 1) > limit)
    assert _largest(peak, limit) == by_hand


def test_nothing_fits() -> None:
    net = create("resnet20", seed=0)
    assert largest_batch(net, 1_000_000) == 0


@pytest.mark.parametrize("limit", [-1, 1e9, True, None])
def test_a_limit_is_bytes(limit: Any) -> None:
    with pytest.raises(VertebraError, match="limit must be a number of bytes, or like '16GiB'"):
        largest_batch(create("resnet20", seed=0), limit)
    with pytest.raises(VertebraError, match="an amount of memory is like 16GiB"):
        largest_batch(create("resnet20", seed=0), "much")


def test_a_limit_as_a_person_says_it() -> None:
    net = create("resnet20", seed=0)
    assert largest_batch(net, "64MiB") == largest_batch(net, 64 * 2**20) > 0


def test_the_largest_batch_of_integers() -> None:
    net = nn.Sequential(nn.Embedding(10, 64), nn.Linear(64, 64))
    best = largest_batch(net, 10_000_000, inputs=[torch.empty((1, 16), dtype=torch.int64)])
    tokens = [torch.empty((n, 16), dtype=torch.int64, device="meta") for n in (best, best + 1)]
    fits, exceeds = (memory_of(net, inputs=[t]).training_peak for t in tokens)
    assert fits <= 10_000_000 < exceeds


def test_the_largest_batch_of_two_inputs() -> None:
    net = Run(
        lambda s, x, y: s.left(x) + s.right(y), left=nn.Linear(64, 32), right=nn.Linear(8, 32)
    )
    best = largest_batch(net, 10_000_000, inputs=[(1, 64), (1, 8)])
    fits, exceeds = (
        memory_of(net, inputs=[(n, 64), (n, 8)]).training_peak for n in (best, best + 1)
    )
    assert fits <= 10_000_000 < exceeds
