"""The open-loop server against queueing theory, on a clock of its own."""

import numpy as np
import pytest
from scipy import stats

from vertebra.bench.serving import arrivals, serve


class Clock:
    """Time that passes only where somebody works or waits."""

    def __init__(self) -> None:
        self.time = 5.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def test_arrivals_are_a_poisson_process_and_the_same_for_every_subject() -> None:
    moments = arrivals(40.0, 20_000, seed=3)
    assert moments == arrivals(40.0, 20_000, seed=3)
    assert moments != arrivals(40.0, 20_000, seed=4)
    gaps = np.diff([0.0, *moments])
    assert stats.kstest(gaps, stats.expon(scale=1 / 40).cdf).pvalue > 0.01
    assert stats.spearmanr(gaps[:-1], gaps[1:]).pvalue > 0.01


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
def test_waiting_is_what_pollaczek_and_khinchine_say(load: float) -> None:
    clock, service = Clock(), 0.01
    served = serve(
        lambda: clock.sleep(service), load / service, 60_000, 1, now=clock.now, sleep=clock.sleep
    )
    # Constant service: mean wait = load * service / (2 (1 - load)), beside the service itself.
    expected = service + load * service / (2 * (1 - load))
    assert np.mean(served.samples) == pytest.approx(expected, rel=0.06)
    assert served.busy == pytest.approx(load, rel=0.03)
    assert min(served.samples) == pytest.approx(service)


def test_a_stall_is_paid_by_all_who_wait_for_it() -> None:
    clock = Clock()
    calls = iter([1.0] + [0.001] * 99)
    served = serve(
        lambda: clock.sleep(next(calls)), 100.0, 100, 1, now=clock.now, sleep=clock.sleep
    )
    # A loop that asks only when it was answered would see one slow call.
    assert sum(sample > 0.1 for sample in served.samples) > 50
