"""Receptive fields along one axis, window by window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vertebra.anatomy.arithmetic.checks import check_counts


@dataclass(frozen=True)
class Window:
    """A convolution or pooling along one axis; ``padding`` is what lies before the first pixel."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        check_counts(1, kernel=self.kernel, stride=self.stride, dilation=self.dilation)
        check_counts(0, padding=self.padding)


@dataclass(frozen=True)
class AxisField:
    """What the positions of a map see of the input, in pixels of one axis.

    Position ``i`` sees ``size`` pixels from ``start + i * jump`` on; a negative pixel is padding.
    """

    size: int = 1
    jump: int = 1
    start: int = 0

    @property
    def centre(self) -> float:
        """Middle of the field of position 0, in pixels."""
        return self.start + (self.size - 1) / 2

    def through(self, window: Window) -> AxisField:
        """The field after one more window."""
        return window_field(self, window.kernel, window.stride, window.padding, window.dilation)


def window_field(
    field: AxisField, kernel: int, stride: int, padding: int, dilation: int
) -> AxisField:
    """The field after one more window: size + d(k - 1) jump, jump s, start - p jump.

    Unchecked: negative padding is a window that begins inside the map.
    """
    size = field.size + dilation * (kernel - 1) * field.jump
    return AxisField(size, field.jump * stride, field.start - padding * field.jump)


def receptive_field(windows: Iterable[Window]) -> AxisField:
    """The field of a stack of windows, first one first; that of none is the pixel itself.

    Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill,
    2019; a dilated kernel counts as one of d(k - 1) + 1 pixels.
    """
    field = AxisField()
    for window in windows:
        field = field.through(window)
    return field
