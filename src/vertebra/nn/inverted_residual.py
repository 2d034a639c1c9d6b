"""The inverted residual block, which MobileNetV2 brought and its followers vary."""

from dataclasses import replace

from torch import Tensor, nn

from vertebra.nn.conv import NormAct
from vertebra.nn.drop import DropPath


def round_channels(channels: float, divisor: int = 8) -> int:
    """The multiple of ``divisor`` nearest to ``channels``, never more than 10 % below it.

    The rule of the authors' own code for MobileNets and EfficientNets, which no paper states.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


class InvertedResidual(nn.Module):
    """Widen by a 1x1, filter each channel, narrow by a linear 1x1; add the input if shapes agree.

    Sandler et al., 2018, arXiv:1801.04381, table 1 and figure 4 (stride 1 has the shortcut). The
    last convolution has no activation, since ReLU destroys information in few channels (section
    3.2). ``squeeze`` is a squeeze-and-excite module between the depthwise and the last convolution
    (MobileNetV3, MBConv of EfficientNet). Where ``expanded`` is ``in_chans`` there is no widening.

    Shapes: (N, in_chans, H, W) -> (N, out_chans, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_chans: int,
        expanded: int,
        out_chans: int,
        kernel: int,
        stride: int,
        unit: NormAct,
        squeeze: nn.Module | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        linear = replace(unit, act=None)
        self.expand: nn.Module = nn.Identity()
        if expanded != in_chans:
            self.expand = unit.conv(in_chans, expanded, 1)
        self.depthwise = unit.conv(expanded, expanded, kernel, stride, groups=expanded)
        self.squeeze = squeeze or nn.Identity()
        self.project = linear.conv(expanded, out_chans, 1)
        self.residual = stride == 1 and in_chans == out_chans
        self.drop_path = DropPath(drop_path if self.residual else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, out_chans, H', W')."""
        out: Tensor = self.project(self.squeeze(self.depthwise(self.expand(x))))
        # In place, since nothing else holds a norm's output, not even for its gradient.
        return self.drop_path(out).add_(x) if self.residual else out
