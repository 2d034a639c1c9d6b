"""PyTorch's habit of giving one value for all axes, or one for each."""

from collections.abc import Sequence


def on_axis(values: Sequence[int] | int, axis: int) -> int:
    """The value that holds for one axis."""
    if isinstance(values, int):
        return values
    return values[axis] if len(values) > 1 else values[0]
