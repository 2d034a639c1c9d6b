"""Squeeze-and-excitation: each channel scaled by what the whole image says of it."""

from torch import Tensor, nn

from vertebra.nn.conv import make_act


class SqueezeExcite(nn.Module):
    """``x * gate(W2 act(W1 mean(x)))`` (Hu et al., 2017, arXiv:1709.01507, equations 2 to 4).

    The two layers are 1x1 convolutions on a map of one pixel, which is the paper's linear layers.

    Shapes: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        squeezed: int,
        act: type[nn.Module] = nn.ReLU,
        gate: type[nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = make_act(act)
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        squeezed = x.mean((2, 3), keepdim=True)
        scale: Tensor = self.gate(self.expand(self.act(self.reduce(squeezed))))
        return x * scale
