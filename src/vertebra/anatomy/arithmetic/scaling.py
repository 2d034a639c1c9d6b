"""Networks grown by a rule: compound scaling, and how depths and channels are rounded.

Nothing here needs PyTorch but :func:`scaled_channels`, whose rounding the networks share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vertebra.anatomy.arithmetic.checks import check_counts
from vertebra.core import VertebraError

# Tan and Le, 2019, section 4: found by a small grid search for B0.
ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15


@dataclass(frozen=True)
class CompoundScale:
    """What depth, width and resolution of a network are multiplied by."""

    depth: float
    width: float
    resolution: float

    @property
    def macs_factor(self) -> float:
        """About what the MACs are multiplied by: depth x width^2 x resolution^2.

        Exact for dense convolutions if nothing is rounded. Real networks round depths up and
        channels to multiples: B0 by phi = 2 takes 4.7 times the MACs, not 3.7. Depthwise layers
        grow with the width, not its square.
        """
        return self.depth * self.width**2 * self.resolution**2


def compound_scale(
    phi: float, *, alpha: float = ALPHA, beta: float = BETA, gamma: float = GAMMA
) -> CompoundScale:
    """Depth alpha^phi, width beta^phi, resolution gamma^phi.

    The published bases make alpha beta^2 gamma^2 1.92, about 2, so each unit of phi doubles the
    MACs. Tan and Le, 2019, arXiv:1905.11946, equation 3. The released B1 to B7 have coefficients
    of their own, near the rule but not by it.

    Raises:
        VertebraError: a base is below 1, or a result is too large for a float.
    """
    for name, base in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not 1 <= base < math.inf:
            raise VertebraError(f"{name} must be 1 or more, and finite; got {base}")
    if not math.isfinite(phi):
        raise VertebraError(f"phi must be finite; got {phi}")
    try:
        scale = CompoundScale(alpha**phi, beta**phi, gamma**phi)
        # A power too small for a float is 0 without an error.
        if 0 < scale.macs_factor < math.inf:
            return scale
    except OverflowError:
        pass
    raise VertebraError(f"phi {phi} scales beyond any network; expected one nearer to 0")


def scaled_depth(repeats: int, depth: float) -> int:
    """Blocks of a stage that had ``repeats``: rounded up.

    The authors' code (tensorflow/tpu, efficientnet_model.py, ``round_repeats``).

    Raises:
        VertebraError: ``depth`` is not positive and finite.
    """
    check_counts(1, repeats=repeats)
    _check_multiplier("depth", depth)
    return math.ceil(repeats * depth)


def scaled_channels(channels: int, width: float, divisor: int = 8) -> int:
    """Channels of a layer that had ``channels``: to a multiple of ``divisor``, at most 10 % below.

    :func:`vertebra.nn.round_channels` of the product, as the networks of the zoo are built.

    Raises:
        VertebraError: ``width`` is not positive and finite.
    """
    from vertebra.nn import round_channels  # here: it loads PyTorch, which nothing else needs

    check_counts(1, channels=channels, divisor=divisor)
    _check_multiplier("width", width)
    return round_channels(channels * width, divisor)


def _check_multiplier(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise VertebraError(f"{name} must be positive and finite; got {value}")
