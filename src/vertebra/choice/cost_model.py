"""What a network would cost that was not measured, from those that were.

Time is taken to be a sum over the kinds of work that a network does (``anatomy.Work``): so much for
a multiply-accumulate of each kind, for a byte moved, and for each operation; all at least zero. The
rates are those that make the *relative* errors of the measured networks least (non-negative least
squares; Lawson and Hanson, 1974). A kind of work that hardly any of them does would have a rate by
chance: each product's is drawn, weakly, towards the common one of all. How far to trust it is found
by leaving out one family after the other, since a new network is new by its family.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Work = Mapping[str, Sequence[float]]
Features = Callable[[Work], tuple[float, ...]]

# A rate for the multiply-accumulates of each of these, and for the bytes of what all others move.
_PRODUCTS = ("convolution", "pointwise", "grouped", "depthwise", "linear", "attention")
# What engines do apart from the product before it. The bytes of each have a rate of their own: that
# of a ReLU, which is done with the product, would be drawn up by a SiLU's.
_APART = ("layer_norm", "exponential")
# Weight of what is believed of a rate before, beside a measured network's 1. Without it grouped
# convolutions, that only ResNeXt lives by, were 3.6 times too dear; 0.03 to 0.5 do as well.
_PRIOR = 0.1
# Networks and families below which nothing is predicted: more rates than facts.
LEAST_NETWORKS, LEAST_FAMILIES = 12, 4


@dataclass(frozen=True)
class Example:
    """A network that was measured: seconds of a call."""

    model: str
    family: str
    work: Work
    seconds: float


@dataclass(frozen=True)
class CostModel:
    """Seconds for one of each feature, and the median relative error on families left out."""

    rates: tuple[float, ...]
    error: float
    networks: int

    def seconds(self, work: Work) -> float:
        """Predicted time of a call."""
        return sum(rate * x for rate, x in zip(self.rates, features(work), strict=True))


def features(work: Work) -> tuple[float, ...]:
    """MACs of each product; bytes of weights; bytes of maps of products, of what is done apart from
    them, and of all else; number of operations.
    """
    parts = {kind: tuple(numbers) for kind, numbers in work.items()}
    maps = {kind: float(part[1] - part[2]) for kind, part in parts.items()}
    macs = [float(parts[kind][0]) if kind in parts else 0.0 for kind in _PRODUCTS]
    apart = [maps.get(kind, 0.0) for kind in _APART]
    in_products = sum(maps.get(kind, 0.0) for kind in _PRODUCTS)
    moved = sum(maps.values()) - in_products - sum(apart)
    weights = float(sum(part[2] for part in parts.values()))
    operations = float(sum(part[3] for part in parts.values()))
    return (*macs, weights, in_products, *apart, moved, operations)


def fit(examples: Sequence[Example]) -> CostModel | None:
    """The model of these examples; None where they are too few to tell it from chance."""
    families = {example.family for example in examples}
    if len(examples) < LEAST_NETWORKS or len(families) < LEAST_FAMILIES:
        return None
    error = statistics.median(left_out_errors(examples).values())
    return CostModel(tuple(_rates(examples, features)), error, len(examples))


def left_out_errors(examples: Sequence[Example], of: Features = features) -> dict[str, float]:
    """For each network the relative error of a model that never saw its family.

    ``of`` gives what is regressed on; with :func:`by_macs` it is what the model has to beat.
    """
    found = {}
    for family in {example.family for example in examples}:
        rates = _rates([example for example in examples if example.family != family], of)
        for example in examples:
            if example.family == family:
                told = sum(r * x for r, x in zip(rates, of(example.work), strict=True))
                found[example.model] = abs(told / example.seconds - 1)
    return found


def by_macs(work: Work) -> tuple[float, ...]:
    """MACs and a constant: the model that is meant where MACs are given for a network's cost."""
    return (float(sum(part[0] for part in work.values())), 1.0)


def _rates(examples: Sequence[Example], of: Features) -> NDArray[np.float64]:
    import numpy as np
    from scipy.optimize import nnls

    rows = np.array([of(example.work) for example in examples])
    scale = rows.max(axis=0)
    scale[scale == 0] = 1.0
    # Divided by the time itself, so that a large network's percent weighs as a small one's.
    seconds = np.array([example.seconds for example in examples])
    rows = rows / scale / seconds[:, None]
    wanted = np.ones(len(examples))
    if of is features:
        believed = _prior(examples, scale)
        rows = np.vstack([rows, believed])
        wanted = np.concatenate([wanted, np.full(len(believed), _PRIOR)])
    found, _ = nnls(rows, wanted)
    rates: NDArray[np.float64] = found / scale
    return rates


def _prior(examples: Sequence[Example], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows that say of each product that its rate is what a MAC takes in the middle network."""
    import numpy as np

    macs = [sum(part[0] for part in example.work.values()) for example in examples]
    common = statistics.median(
        example.seconds / count for example, count in zip(examples, macs, strict=True) if count
    )
    rows: NDArray[np.float64] = np.zeros((len(_PRODUCTS), len(scale)))
    for place in range(len(_PRODUCTS)):
        rows[place, place] = _PRIOR / (common * scale[place])
    return rows
