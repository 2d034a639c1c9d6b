"""Stochastic depth: whole residual branches left out at random during training."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Drop a residual branch for a whole sample with probability ``rate`` (arXiv:1603.09382).

    What is kept is divided by ``1 - rate``, so evaluation needs no scaling; the paper scales at
    evaluation instead, with the same expectation. The identity when evaluating or at rate 0.

    Shapes: (N, ...) -> (N, ...).
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, ...)."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        # Drawn in float32: a bfloat16 draw has too few values for small rates.
        draw = torch.rand((x.shape[0],) + (1,) * (x.ndim - 1), device=x.device)
        return x * ((draw < keep).to(x.dtype) / keep)

    def extra_repr(self) -> str:
        """The rate."""
        return f"rate={self.rate:g}"


def drop_path_rates(
    rate: float, depths: Sequence[int], reaches_rate: bool = True
) -> list[list[float]]:
    """A rate for each block of each stage, from 0 at the first linearly to ``rate`` at the last.

    The linear decay rule of arXiv:1603.09382, section 3, counted from zero as timm does. Without
    ``reaches_rate`` the line ends one step later, so that the last block stays below ``rate``:
    EfficientNet's authors, and torchvision and timm after them, have it so in that family.
    """
    total = sum(depths)
    steps = max(total - 1, 1) if reaches_rate else total
    rates = [rate * index / steps for index in range(total)]
    ends = [sum(depths[: stage + 1]) for stage in range(len(depths))]
    return [rates[end - depth : end] for end, depth in zip(ends, depths, strict=True)]
