"""What repeated times say, and how surely.

Calls that follow each other are alike: a slow moment slows several. So the unit of every interval
is a round, of which each contributes its median, and not a call. Intervals are of the signed-rank
kind (Wilcoxon 1945; estimate and interval: Hodges and Lehmann 1963), which assume no distribution
and are not moved by one bad round.
"""

from __future__ import annotations

import bisect
import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.99
# Calls below which LoadGen of MLPerf gives no such percentile (early stopping, inference rules).
LEAST_CALLS = {"p50": 64, "p90": 64, "p99": 662}
# Rounds below which there is no interval at this confidence: 2 / 2**8 < 0.01.
LEAST_ROUNDS = 8


@dataclass(frozen=True)
class Estimate:
    """A value and its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Ratio(Estimate):
    """How many times longer one takes than the other; ``floor`` is the noise of the machine."""

    floor: float = 0.0

    @property
    def differs(self) -> bool:
        """Whether it is a difference: the interval leaves out 1, and the value is off the floor."""
        beyond = abs(math.log(self.value)) > math.log1p(self.floor)
        return not self.low <= 1 <= self.high and beyond


def rounds_of(samples: Sequence[float], rounds: int) -> list[float]:
    """The median of each of ``rounds`` equal parts, in order."""
    size = len(samples) // rounds
    return [statistics.median(samples[i * size : (i + 1) * size]) for i in range(rounds)]


def median_interval(samples: Sequence[float], rounds: int) -> Estimate:
    """The median of all samples, and an interval that also holds it."""
    middle = statistics.median(samples)
    found = signed_rank(rounds_of(samples, rounds))
    return Estimate(middle, min(found.low, middle), max(found.high, middle))


def paired_ratio(
    numerator: Sequence[float], denominator: Sequence[float], rounds: int, floor: float = 0.0
) -> Ratio:
    """The ratio of two that took turns, round by round, so that what drifts drops out."""
    if len(numerator) % rounds or len(denominator) % rounds:
        raise ValueError("samples are whole rounds")
    pairs = zip(rounds_of(numerator, rounds), rounds_of(denominator, rounds), strict=True)
    found = signed_rank([math.log(a / b) for a, b in pairs])
    return Ratio(math.exp(found.value), math.exp(found.low), math.exp(found.high), floor)


def separate_ratio(
    numerator: Sequence[float], denominator: Sequence[float], floor: float = 0.0
) -> Ratio:
    """The ratio of two measured at different times, from the medians of the rounds of each.

    Interval of the rank-sum kind (Mann and Whitney 1947), by its normal approximation.
    """
    differences = sorted(math.log(a / b) for a in numerator for b in denominator)
    n, m = len(numerator), len(denominator)
    z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    skipped = math.floor(n * m / 2 - z * math.sqrt(n * m * (n + m + 1) / 12))
    cut = min(max(skipped, 0), (len(differences) - 1) // 2)
    value, low, high = statistics.median(differences), differences[cut], differences[-1 - cut]
    return Ratio(math.exp(value), math.exp(low), math.exp(high), floor)


def noise_floor(ratio: Ratio) -> float:
    """How far from 1 the ratio of a subject to itself may be, by its own interval."""
    return max(ratio.high, 1 / ratio.low) - 1


def signed_rank(values: Sequence[float]) -> Estimate:
    """Pseudo-median of values that are symmetric about it, and its interval.

    With fewer than :data:`LEAST_ROUNDS` values the interval is as wide as they are, and less sure.
    """
    averages = sorted(
        (a + b) / 2 for place, a in enumerate(values) for b in values[place:]
    )  # Walsh averages
    cut = _skipped(len(values))
    return Estimate(statistics.median(averages), averages[cut], averages[-1 - cut])


@functools.cache
def _skipped(n: int) -> int:
    """How many Walsh averages of ``n`` values are left out at each end: exact, by counting."""
    ways = [1]  # of reaching each sum of the ranks seen so far
    for rank in range(1, n + 1):
        longer = [0] * (len(ways) + rank)
        for total, count in enumerate(ways):
            longer[total] += count
            longer[total + rank] += count
        ways = longer
    below, cumulative = 0, []
    for count in ways:
        below += count
        cumulative.append(below)
    # The largest sum of ranks that is still too small to be chance; -1 where even 0 is not.
    return max(0, bisect.bisect_right(cumulative, (1 - CONFIDENCE) / 2 * 2**n) - 1)
