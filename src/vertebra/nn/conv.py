"""Convolution, normalisation, activation: the unit that most convolutional families repeat."""

from torch import Tensor, nn


class ConvNormAct(nn.Module):
    """``act(norm(conv(x)))`` with "same" padding for odd kernels and no convolution bias.

    The bias is left out because the norm that follows subtracts it again (Ioffe and Szegedy, 2015,
    section 3.2).

    Shapes: (N, in_chans, H, W) -> (N, out_chans, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_chans: int,
        out_chans: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        act: type[nn.Module] | None = nn.ReLU,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_chans, out_chans, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_chans)
        self.act = nn.Identity() if act is None else act()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, out_chans, H', W')."""
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out
