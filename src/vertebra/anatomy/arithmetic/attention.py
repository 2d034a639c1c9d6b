"""Attention and the transformer's block: parameters, multiply-accumulates, tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from vertebra.anatomy.arithmetic.checks import check_axes, check_counts
from vertebra.anatomy.arithmetic.macs import linear_macs, matmul_macs
from vertebra.anatomy.arithmetic.parameters import layer_norm_params, linear_params
from vertebra.core import VertebraError


def attention_params(width: int, heads: int = 1, *, bias: bool = True) -> int:
    """Multi-head self-attention: four projections d x d and their biases, for any number of heads.

    Vaswani et al., 2017, arXiv:1706.03762, section 3.2.2, with heads of d / h features.

    Raises:
        VertebraError: ``heads`` does not divide ``width``.
    """
    _check_heads(width, heads)
    return 4 * linear_params(width, width, bias=bias)


def transformer_block_params(width: int, heads: int = 1, *, mlp_ratio: float | Fraction = 4) -> int:
    """Two layer norms, attention and an MLP with one hidden layer, all with biases.

    12 d^2 + 13 d for an MLP ratio of 4. Dosovitskiy et al., 2020, arXiv:2010.11929, equations 2
    and 3.

    Raises:
        VertebraError: ``heads`` does not divide ``width``, or the MLP's width is no whole number.
    """
    hidden = _hidden(width, mlp_ratio)
    mlp = linear_params(width, hidden) + linear_params(hidden, width)
    return 2 * layer_norm_params(width) + attention_params(width, heads) + mlp


@dataclass(frozen=True)
class TransformerMacs:
    """MACs of one layer of a transformer by what they depend on.

    ``projections``: queries, keys, values and output, linear in the tokens. ``products``: queries
    with keys, and weights with values, where the square of the tokens comes in. ``mlp``: 0 for
    attention alone.
    """

    projections: int
    products: int
    mlp: int = 0

    @property
    def total(self) -> int:
        """All MACs."""
        return self.projections + self.products + self.mlp


def attention_macs(tokens: int, width: int, heads: int = 1) -> TransformerMacs:
    """Multi-head self-attention: 4 n d^2 of projections, 2 n^2 d of products; heads change nothing.

    Liu et al., 2021, arXiv:2103.14030, equation 1. The softmax is left out, as there.

    Raises:
        VertebraError: ``heads`` does not divide ``width``.
    """
    _check_heads(width, heads)
    scores = matmul_macs(tokens, width // heads, tokens, batch=heads)
    mixing = matmul_macs(tokens, tokens, width // heads, batch=heads)
    return TransformerMacs(4 * linear_macs(width, width, rows=tokens), scores + mixing)


def windowed_attention_macs(
    map_size: Sequence[int], width: int, window: int, heads: int = 1
) -> TransformerMacs:
    """Attention within windows of M x M tokens: 4 n d^2 of projections, 2 M^2 n d of products.

    Linear in the n tokens of the map (height, width). Liu et al., 2021, arXiv:2103.14030, equation
    2.

    Raises:
        VertebraError: ``heads`` does not divide ``width``, or ``window`` an axis of the map
            (implementations pad such a map to whole windows first: give the padded size).
    """
    check_axes(map_size=map_size)
    check_counts(1, window=window)
    if any(size % window for size in map_size):
        raise VertebraError(f"window {window} does not divide the map {tuple(map_size)}")
    windows = math.prod(size // window for size in map_size)
    one = attention_macs(window ** len(map_size), width, heads)
    return TransformerMacs(windows * one.projections, windows * one.products)


def transformer_block_macs(
    tokens: int, width: int, heads: int = 1, *, mlp_ratio: float | Fraction = 4
) -> TransformerMacs:
    """One block: attention, and 2 r n d^2 of an MLP with r d hidden features.

    For a ratio of 4 that is 12 n d^2 + 2 n^2 d.

    Raises:
        VertebraError: ``heads`` does not divide ``width``, or the MLP's width is no whole number.
    """
    attention = attention_macs(tokens, width, heads)
    mlp = 2 * linear_macs(width, _hidden(width, mlp_ratio), rows=tokens)
    return TransformerMacs(attention.projections, attention.products, mlp)


def break_even_tokens(width: int) -> int:
    """The tokens at which projections and products of attention cost the same: n = 2d.

    From 4 n d^2 = 2 n^2 d; with fewer, the projections cost more.
    """
    check_counts(1, width=width)
    return 2 * width


def image_tokens(size: Sequence[int], patch: int, *, class_token: bool = True) -> int:
    """Tokens of an image (height, width) cut into square patches, and one for the class.

    Dosovitskiy et al., 2020, arXiv:2010.11929, section 3.1.

    Raises:
        VertebraError: ``patch`` does not divide an axis.
    """
    check_axes(image_size=size)
    check_counts(1, patch=patch)
    if any(length % patch for length in size):
        raise VertebraError(f"patch {patch} does not divide the image {tuple(size)}")
    return math.prod(length // patch for length in size) + class_token


def _check_heads(width: int, heads: int) -> None:
    check_counts(1, width=width, heads=heads)
    if width % heads:
        raise VertebraError(f"heads must divide the width; {heads} does not divide {width}")


def _hidden(width: int, mlp_ratio: float | Fraction) -> int:
    """Implementations round a broken width, each in its own way; here it is refused."""
    check_counts(1, width=width)
    if not 0 < mlp_ratio < math.inf:
        raise VertebraError(f"the MLP ratio must be positive and finite; got {mlp_ratio}")
    hidden = width * Fraction(mlp_ratio)
    if hidden.denominator != 1:
        raise VertebraError(
            f"an MLP ratio of {mlp_ratio} makes {float(hidden):g} of width {width}; "
            "expected a whole number"
        )
    return hidden.numerator
