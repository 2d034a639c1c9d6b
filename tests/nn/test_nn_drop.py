"""Stochastic depth: which rate a block gets and what a dropped sample looks like."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vertebra.nn import DropPath, drop_path_rates


@given(
    st.floats(0, 0.99),
    st.lists(st.integers(1, 12), min_size=1, max_size=5).filter(lambda d: sum(d) > 1),
)
def test_rates_rise_linearly_over_all_blocks(rate: float, depths: list[int]) -> None:
    rates = drop_path_rates(rate, depths)
    assert [len(stage) for stage in rates] == depths
    flat = [value for stage in rates for value in stage]
    np.testing.assert_allclose(flat, np.linspace(0, rate, sum(depths)), rtol=1e-12, atol=1e-15)


def test_a_single_block_is_never_dropped() -> None:
    assert drop_path_rates(0.5, (1,)) == [[0.0]]


@pytest.mark.parametrize("shape", [(5000, 3, 2, 2), (5000, 4), (5000, 7, 3)])
@pytest.mark.parametrize("rate", [0.1, 0.7])
def test_whole_samples_are_dropped_at_the_rate(shape: tuple[int, ...], rate: float) -> None:
    torch.manual_seed(0)
    x = torch.rand(shape, dtype=torch.float64) + 1
    rows = (DropPath(rate)(x) / x).flatten(1)
    dropped = (rows == 0).all(dim=1)
    kept = torch.isclose(rows, torch.tensor(1 / (1 - rate), dtype=rows.dtype)).all(dim=1)
    assert bool((dropped | kept).all()), "a sample was dropped in part"
    # Six standard deviations of the binomial distribution.
    margin = 6 * (rate * (1 - rate) / shape[0]) ** 0.5
    assert abs(dropped.double().mean().item() - rate) < margin


def test_the_expectation_is_the_input() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 2, 2, dtype=torch.float64)
    drop = DropPath(0.3)
    draws = 4000
    mean = sum(drop(x) for _ in range(draws)) / draws
    # A kept sample is x / 0.7, so one draw deviates by |x| * sqrt(0.3 / 0.7).
    assert bool(((mean - x).abs() <= 6 * x.abs() * (0.3 / 0.7 / draws) ** 0.5).all())


def test_gradients_reach_kept_samples_only() -> None:
    torch.manual_seed(0)
    x = torch.ones(64, 3, requires_grad=True)
    out = DropPath(0.5)(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())
    assert 0 < (x.grad[:, 0] == 0).sum() < 64


@pytest.mark.parametrize(("rate", "training"), [(0.9, False), (0.0, True), (0.0, False)])
def test_otherwise_it_is_the_identity_and_draws_nothing(rate: float, training: bool) -> None:
    x = torch.randn(4, 3)
    before = torch.get_rng_state()
    assert DropPath(rate).train(training)(x) is x
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_type_is_kept(dtype: torch.dtype) -> None:
    assert DropPath(0.5)(torch.ones(4, 2, dtype=dtype)).dtype == dtype
