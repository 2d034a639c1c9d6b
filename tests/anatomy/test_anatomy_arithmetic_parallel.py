"""ZeRO against its paper and optimisers that are run, all-reduce against a ring that is run."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra.anatomy.arithmetic import (
    MIXED_ADAM,
    RingAllReduce,
    StateBytes,
    StateMemory,
    ring_all_reduce,
    zero_memory,
)

some = settings(max_examples=100)


@pytest.mark.parametrize(("stage", "gigabytes"), [(0, 120.0), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_figure_1_of_zero(stage: int, gigabytes: float) -> None:
    """7.5 G parameters on 64 GPUs with Adam in mixed precision."""
    memory = zero_memory(7_500_000_000, 64, stage)
    assert round(memory.total / 1e9, 1) == gigabytes


@pytest.mark.parametrize(
    ("params", "ranks", "gigabytes"),
    [
        (7.5e9, 1, (120, 120, 120)),
        (7.5e9, 4, (52.5, 41.3, 30)),
        (7.5e9, 16, (35.6, 21.6, 7.5)),
        (7.5e9, 1024, (30.1, 15.1, 0.12)),
        (128e9, 16, (608, 368, 128)),
        (128e9, 256, (518, 263, 8)),
        (1e12, 64, (4187, 2218, 250)),
        (1e12, 1024, (4011, 2013, 15.6)),
    ],
)
def test_table_1_of_zero(params: float, ranks: int, gigabytes: tuple[float, ...]) -> None:
    """To the paper's digits: it rounds, and once cuts off."""
    for stage, expected in enumerate(gigabytes, start=1):
        total = zero_memory(int(params), ranks, stage).total / 1e9
        assert total == pytest.approx(expected, abs=0.06 if expected < 100 else 1)


def test_bytes_of_an_optimiser_that_is_run() -> None:
    """Float32: what PyTorch's Adam and SGD keep for each parameter, on one GPU of one."""
    layer = torch.nn.Linear(300, 200)
    layer(torch.ones(1, 300)).sum().backward()
    params = sum(p.numel() for p in layer.parameters())
    for optimiser, state in (
        (torch.optim.Adam(layer.parameters()), StateBytes(4, 4, 8)),
        (torch.optim.SGD(layer.parameters(), momentum=0.9), StateBytes(4, 4, 4)),
    ):
        optimiser.step()
        kept = sum(
            tensor.nbytes
            for slots in optimiser.state.values()
            for tensor in slots.values()
            if tensor is not None and tensor.ndim  # not the count of steps
        )
        learnt = sum(p.nbytes for p in layer.parameters())
        gradients = sum(p.grad.nbytes for p in layer.parameters())
        assert zero_memory(params, 1, 0, state) == StateMemory(learnt, gradients, kept)


@some
@given(st.integers(1, 10**6), st.integers(1, 300), st.integers(0, 3))
def test_the_fullest_gpu_counts(params: int, ranks: int, stage: int) -> None:
    """Each share is that of the longest of ``ranks`` slices; numpy cuts them."""
    share = max(len(part) for part in np.array_split(np.zeros(params, np.int8), ranks))
    held = [share if stage >= at else params for at in (3, 2, 1)]
    state = StateBytes(3, 5, 7)
    memory = zero_memory(params, ranks, stage, state)
    assert memory == StateMemory(3 * held[0], 5 * held[1], 7 * held[2])
    assert memory.total == 3 * held[0] + 5 * held[1] + 7 * held[2]
    assert zero_memory(params, ranks, 3).total >= Fraction(16 * params, ranks)


def test_published_bytes() -> None:
    mixed = (MIXED_ADAM.parameters, MIXED_ADAM.gradients, MIXED_ADAM.optimiser)
    assert mixed == (2, 2, 12)


# Ring all-reduce.


def run_ring(data: np.ndarray) -> tuple[np.ndarray, list[int], int]:
    """Sum the rows of bytes, one row a GPU, over a ring; also the bytes sent by each, and steps."""
    ranks, size = data.shape
    padded = np.pad(data, ((0, 0), (0, -size % ranks)))
    held = [list(np.split(row, ranks)) for row in padded]
    sent, steps = [0] * ranks, 0
    for phase in ("reduce", "gather"):
        for step in range(ranks - 1):
            shift = 0 if phase == "reduce" else 1
            messages = [
                ((rank + shift - step) % ranks, held[rank][(rank + shift - step) % ranks].copy())
                for rank in range(ranks)
            ]
            for rank, (chunk, message) in enumerate(messages):
                sent[rank] += message.nbytes
                there = held[(rank + 1) % ranks]
                there[chunk] = there[chunk] + message if phase == "reduce" else message
            steps += 1
    return np.array([np.concatenate(row)[:size] for row in held]), sent, steps


@some
@given(st.integers(1, 9), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_a_ring_that_is_run(ranks: int, size: int, seed: int) -> None:
    data = np.random.default_rng(seed).integers(0, 256, (ranks, size), dtype=np.uint8)
    result, sent, steps = run_ring(data)
    total = data.sum(axis=0, dtype=np.uint8)
    assert all(np.array_equal(row, total) for row in result), "the ring of this test is wrong"
    ours = ring_all_reduce(size, ranks)
    assert ours.steps == steps
    assert [ours.sent] * ranks == sent
    # Patarasuk and Yuan's lower bound, and how far the padding may lie above it.
    bound = Fraction(2 * (ranks - 1) * size, ranks)
    assert bound <= ours.sent < bound + max(2 * (ranks - 1), 1)
    assert size % ranks or ours.sent == bound


def test_time_on_a_ring() -> None:
    """100 MB over 8 GPUs at 10 GB/s: 175 MB sent, 17.5 ms; and 14 messages of 5 us."""
    ring = ring_all_reduce(100_000_000, 8)
    assert ring == RingAllReduce(steps=14, chunk=12_500_000)
    assert ring.sent == 175_000_000
    assert ring.seconds(10e9) == pytest.approx(17.5e-3)
    assert ring.seconds(10e9, 5e-6) == pytest.approx(17.57e-3)
    assert ring_all_reduce(1000, 1).seconds(1.0, 1.0) == 0
