"""Normalisation by what neighbouring channels say at the same position."""

from torch import Tensor, nn
from torch.nn import functional as F


class ResponseNorm(nn.Module):
    """``b_i = a_i / (k + alpha * sum_j a_j^2)^beta`` over the ``size`` channels around channel i.

    Krizhevsky, Sutskever and Hinton, 2012, section 3.3; beyond the first and the last channel there
    are zeros. ``alpha`` multiplies the sum, as in the paper. Caffe and ``nn.LocalResponseNorm``
    multiply the mean instead: what they call alpha is ``size * alpha`` of this class.

    ``size`` is odd. The sum is written as one shifted addition a channel of the window, which is
    faster on a CPU than PyTorch's pooling in three dimensions.

    Shapes: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise ValueError(f"a window around a channel has an odd size, got {size}")
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        channels, reach = x.shape[1], self.size // 2
        squares = F.pad(x * x, (0, 0, 0, 0, reach, reach))
        total = squares.narrow(1, 0, channels)
        for shift in range(1, self.size):
            total = total + squares.narrow(1, shift, channels)
        return x / (self.k + self.alpha * total).pow(self.beta)

    def extra_repr(self) -> str:
        """The four numbers."""
        return f"size={self.size}, alpha={self.alpha:g}, beta={self.beta:g}, k={self.k:g}"
