"""The timing loop: its order, its numbers, its manners."""

import gc
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra.machine import Timing, time_call, time_calls


def test_rounds_alternate_their_order() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "ABC"}
    timings = time_calls(calls, rounds=4, warmup=1)
    assert "".join(order) == "ABC" + "ABC" + "CBA" + "ABC" + "CBA"
    assert list(timings) == ["A", "B", "C"]
    assert {len(timing.samples) for timing in timings.values()} == {4}


def test_drift_favours_neither_of_two_equal_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that slows down steadily two equal calls get the same total."""
    clock = {"now": 0.0, "calls": 0}
    monkeypatch.setattr(time, "perf_counter", lambda: clock["now"])

    def call() -> None:
        clock["calls"] += 1
        clock["now"] += clock["calls"]

    timings = time_calls({"a": call, "b": call}, rounds=4, warmup=0)
    assert sum(timings["a"].samples) == sum(timings["b"].samples)


def test_durations_are_those_of_the_call() -> None:
    timing = time_call(lambda: time.sleep(0.01), rounds=3, warmup=0)
    assert all(0.01 <= sample < 0.2 for sample in timing.samples)


@settings(max_examples=200)
@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=60))
def test_quantiles_agree_with_numpy(samples: list[float]) -> None:
    timing = Timing(tuple(samples))
    assert timing.p50 == pytest.approx(np.median(samples), rel=1e-12)
    # Nearest rank is what NumPy calls the inverted distribution function.
    assert timing.p90 == np.percentile(samples, 90, method="inverted_cdf")


def test_the_collector_rests_during_a_call_and_wakes_afterwards() -> None:
    seen: list[bool] = []

    def fail() -> None:
        raise ZeroDivisionError

    assert gc.isenabled()
    time_call(lambda: seen.append(gc.isenabled()), rounds=2, warmup=0)
    assert seen == [False, False]
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        time_call(fail, rounds=1, warmup=0)
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        time_call(int, rounds=1)
        assert not gc.isenabled()
    finally:
        gc.enable()
