"""LogME: how well a linear model with noise explains labels by features, integrated over models.

You et al., 2021, LogME: Practical Assessment of Pre-trained Models for Transfer Learning
(arXiv:2102.11005). For one class against the rest, with labels y of 0 and 1 and features F (n, d):

    w ~ N(0, 1/alpha),  y ~ N(F w, 1/beta),  so  y ~ N(0, (I + F F' / lambda) / beta)

with lambda = alpha / beta. LogME is the largest log p(y | F) over alpha and beta (section 4.2) by
sample, averaged over the classes (section 4.3). There is no intercept, as in the paper.

The paper climbs to the maximum by a fixed-point iteration. Here beta has been eliminated: for a
given lambda the best one is n / y'(I + F F'/lambda)^-1 y, so that one variable is left, which is
searched as a whole. The maximum is the same where the iteration finds it, and there is no start
that could miss it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from vertebra.core import VertebraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Candidates of log lambda before the best one is refined, and how far they reach around the squared
# singular values: beyond that the evidence is flat.
_GRID, _BEYOND = 400, 1e8
# What is left of a label's square when features explain it exactly.
_NOTHING = 1e-12


def logme(features: Floats, labels: Ints) -> float:
    """The score, in nats a sample: more is better, and only of use beside others' on the same data.

    Args:
        features: (n, d), one row a sample; any number of dimensions.
        labels: classes (n,).

    Raises:
        VertebraError: shapes that do not fit, features that are not finite or all zero, a single
            class, or features that give every label of a class exactly while there are fewer
            independent ones than samples: the evidence has no largest value then.
    """
    import numpy as np

    rows, numbers = checked(features, labels)
    classes = np.unique(numbers)
    if len(classes) < 2:
        raise VertebraError("LogME tells classes apart, and all labels are of one class")
    left, singular, _ = np.linalg.svd(rows, full_matrices=False)
    kept = singular > singular[0] * max(rows.shape) * np.finfo(np.float64).eps
    if not kept.any():
        raise VertebraError("LogME needs features, and all of these are zero")
    left, squares = left[:, kept], singular[kept] ** 2
    evidence = [_evidence(left, squares, (numbers == one).astype(np.float64)) for one in classes]
    return float(np.mean(evidence))


def checked(features: Any, labels: Any) -> tuple[Floats, Ints]:
    """Both as arrays, (n, d) of float64 and (n,).

    Raises:
        VertebraError: shapes that do not fit, no samples, or features that are not finite.
    """
    import numpy as np

    rows = np.asarray(features, dtype=np.float64)
    numbers = np.asarray(labels)
    if rows.ndim != 2 or numbers.shape != rows.shape[:1] or not rows.size:
        raise VertebraError(
            f"features are (n, d) and labels (n,), got {rows.shape} and {numbers.shape}"
        )
    if not np.issubdtype(numbers.dtype, np.integer):
        raise VertebraError(f"labels are whole numbers of classes, got {numbers.dtype}")
    if not np.isfinite(rows).all():
        raise VertebraError("some features are not finite; did the network overflow?")
    return rows, numbers.astype(np.int64)


def _evidence(left: Floats, squares: Floats, target: Floats) -> float:
    """The largest log evidence of one target, by sample.

    ``left`` (n, r) and ``squares`` (r,) are the left singular vectors of the features and their
    squared singular values.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar

    count, energy = len(target), float(target @ target)
    explained = (left.T @ target) ** 2
    rest = max(energy - float(explained.sum()), 0.0)
    if rest <= _NOTHING * energy:
        if len(squares) < count:
            raise VertebraError(
                f"LogME has no largest value here: {len(squares)} independent features give every "
                f"label of {count} samples exactly (are images there twice?)"
            )
        rest = 0.0

    def loss(log_ratio: float) -> float:
        """Minus the log evidence by sample at log lambda, with the best beta."""
        ratio = math.exp(log_ratio)
        misfit = float((explained * ratio / (ratio + squares)).sum()) + rest
        beta = count / misfit
        volume = float(np.log1p(squares / ratio).sum())
        return -0.5 * (math.log(beta) - math.log(2 * math.pi) - 1 - volume / count)

    grid = np.linspace(
        math.log(float(squares.min()) / _BEYOND), math.log(float(squares.max()) * _BEYOND), _GRID
    )
    losses = [loss(point) for point in grid.tolist()]
    best = int(np.argmin(losses))
    around = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
    refined = minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-9})
    return -min(float(refined.fun), losses[best])
