"""How surely a share of images is known."""

from __future__ import annotations

import math
import statistics

CONFIDENCE = 0.99


def wilson(share: float, images: int) -> tuple[float, float] | None:
    """Interval of a share of ``images`` at 99 % (Wilson, 1927); None of no images."""
    if images < 1:
        return None
    z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle = (share + z * z / (2 * images)) / (1 + z * z / images)
    half = math.sqrt(share * (1 - share) / images + z * z / (4 * images * images))
    half *= z / (1 + z * z / images)
    return max(0.0, middle - half), min(1.0, middle + half)
