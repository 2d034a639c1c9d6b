"""The padding of TensorFlow, which depends on the size of the image."""

from __future__ import annotations

from dataclasses import dataclass

from vertebra.anatomy.arithmetic.checks import check_counts


@dataclass(frozen=True)
class SamePadding:
    """``size`` pixels come out of one axis if ``before`` and ``after`` are added to it."""

    size: int
    before: int
    after: int

    @property
    def total(self) -> int:
        """Pixels of padding on both sides together."""
        return self.before + self.after


def same_padding(size: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> SamePadding:
    """TensorFlow's "SAME" along one axis: ceil(n / s) positions, by as little padding as will do.

    An odd pixel goes after the input. So an odd kernel's windows on an even input under stride 2
    lie one pixel further right than with PyTorch's symmetric padding of (k - 1) / 2: equal shapes,
    other numbers. TensorFlow's documentation of ``tf.nn``, "Notes on padding".
    """
    check_counts(1, size=size, kernel=kernel, stride=stride, dilation=dilation)
    positions = -(-size // stride)
    total = max((positions - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return SamePadding(positions, total // 2, total - total // 2)
