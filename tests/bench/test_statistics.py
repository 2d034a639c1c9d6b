"""Percentiles and intervals against NumPy and SciPy, and how often the intervals are right."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import made_up
from vertebra.bench.compare import ratio
from vertebra.bench.statistics import (
    LEAST_ROUNDS,
    Ratio,
    median_interval,
    noise_floor,
    paired_ratio,
    separate_ratio,
    signed_rank,
)
from vertebra.machine import percentile


@pytest.mark.parametrize("count", [1, 2, 10, 64, 101, 662])
@pytest.mark.parametrize("percent", [50, 90, 99])
def test_percentiles_are_those_of_numpy_by_nearest_rank(count: int, percent: int) -> None:
    samples = np.random.default_rng(count).exponential(size=count)
    expected = np.quantile(samples, percent / 100, method="inverted_cdf")
    assert percentile(samples.tolist(), percent) == expected


@pytest.mark.parametrize("count", [8, 12, 16, 25])
def test_a_value_is_outside_the_interval_where_scipy_s_exact_test_rejects_it(count: int) -> None:
    values = np.random.default_rng(count).normal(1, 1, count)
    found = signed_rank(values.tolist())
    for guess in np.linspace(values.min() - 1, values.max() + 1, 199):
        p = stats.wilcoxon(values - guess, method="exact").pvalue
        assert (found.low <= guess <= found.high) == (p > 0.01), guess


def test_the_interval_of_two_apart_is_the_one_of_the_rank_sum_test() -> None:
    random = np.random.default_rng(0)
    a, b = random.lognormal(0.2, 0.1, 20), random.lognormal(0, 0.1, 24)
    found = separate_ratio(a.tolist(), b.tolist())
    for factor in np.linspace(1.0, 1.5, 101):
        test = stats.mannwhitneyu(
            np.log(a / factor), np.log(b), method="asymptotic", use_continuity=False
        )
        assert (found.low <= factor <= found.high) == (test.pvalue > 0.01) or (
            0.007 < test.pvalue < 0.014  # within one step of ranks of the border
        )


def _drifting(random: np.random.Generator, rounds: int, size: int) -> np.ndarray:
    """Times as a shared machine gives them: slow for a while, spikes now and then."""
    noise = random.normal(0, 0.03, rounds)
    calls = noise[:, None] + random.normal(0, 0.01, (rounds, size))
    calls += random.exponential(0.3, (rounds, size)) * (random.random((rounds, size)) < 0.05)
    return np.exp(calls).ravel()


def test_the_interval_of_a_median_holds_it_also_where_calls_come_in_slow_spells() -> None:
    random = np.random.default_rng(1)
    truth = np.median([np.median(_drifting(random, 16, 4)) for _ in range(2000)])
    misses = naive = 0
    for _ in range(1000):
        samples = _drifting(random, 16, 4)
        found = median_interval(samples.tolist(), 16)
        misses += not found.low <= truth <= found.high
        # What an interval that takes the calls for independent would say.
        by_call = stats.quantile_test(samples, p=0.5).confidence_interval(0.99)
        naive += not by_call.low <= truth <= by_call.high
    assert misses <= 20
    assert naive > 2 * misses + 20


def test_equal_ones_seldom_differ_and_five_percent_is_found() -> None:
    random = np.random.default_rng(2)
    false = found = 0
    for _ in range(500):
        shared = np.repeat(random.normal(0, 0.1, 16), 4)  # a drift that both are in
        a, b = (np.log(_drifting(random, 16, 4)) * 0.3 + shared for _ in range(2))
        equal = paired_ratio(np.exp(a).tolist(), np.exp(b).tolist(), 16)
        slower = paired_ratio((1.05 * np.exp(a)).tolist(), np.exp(b).tolist(), 16)
        false += equal.differs
        found += slower.differs
    assert false <= 12
    assert found >= 450


def test_nothing_within_the_noise_of_the_machine_is_a_difference() -> None:
    assert Ratio(1.04, 1.03, 1.05, floor=0.03).differs
    assert not Ratio(1.04, 1.03, 1.05, floor=0.045).differs
    assert not Ratio(1.2, 0.99, 1.4, floor=0.01).differs
    assert noise_floor(Ratio(1.0, 0.9, 1.05)) == pytest.approx(1 / 0.9 - 1)


def test_too_few_rounds_give_all_that_was_seen() -> None:
    values = [1.0, 2.0, 4.0]
    found = signed_rank(values)
    assert (found.low, found.high) == (1.0, 4.0)
    assert 2 / 2**LEAST_ROUNDS < 0.01 < 2 / 2 ** (LEAST_ROUNDS - 1)
    assert math.isclose(found.value, 2.25)


def test_two_that_took_turns_are_compared_without_the_drift_that_both_were_in() -> None:
    random = np.random.default_rng(5)
    drift = np.exp(np.repeat(np.linspace(0, 0.4, 16), 4))  # a machine that slows down by half
    a = drift * np.exp(random.normal(0, 0.01, 64))
    b = 1.05 * drift * np.exp(random.normal(0, 0.01, 64))
    before, after = (
        replace(made_up.measurement("resnet18"), samples=tuple(times), floor=0.02)
        for times in (a.tolist(), b.tolist())
    )
    apart = ratio(before, after)
    assert not apart.differs
    turns = {"rounds": 16, "turns": "the same"}
    paired = ratio(replace(before, extra=turns), replace(after, extra=turns))
    assert paired.differs
    assert paired.low < 1.05 < paired.high
    assert paired.high - paired.low < 0.2 * (apart.high - apart.low)
    others = ratio(replace(before, extra=turns), replace(after, extra={**turns, "turns": "other"}))
    assert others == apart
