"""Convolution, normalisation, activation: the units that convolutional families repeat."""

from dataclasses import dataclass

from torch import Tensor, nn

Size = int | tuple[int, int]

# Safe in place: nothing else holds what they overwrite, a norm's or a convolution's output.
_IN_PLACE = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish)


def make_act(kind: type[nn.Module] | None) -> nn.Module:
    """The activation module of a class, in place where that saves memory; None: the identity."""
    if kind is None:
        return nn.Identity()
    return kind(inplace=True) if kind in _IN_PLACE else kind()


class ConvAct(nn.Module):
    """``relu(conv(x))`` with a bias: the unit of networks from before batch norm.

    ``padding`` None is half the kernel.

    Shapes: (N, in_chans, H, W) -> (N, out_chans, ceil(H / stride), ceil(W / stride)) for an odd
    kernel with that padding.
    """

    def __init__(
        self,
        in_chans: int,
        out_chans: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        *,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        if padding is None:
            padding = kernel // 2
        self.conv = nn.Conv2d(in_chans, out_chans, kernel, stride, padding, groups=groups)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, out_chans, H', W')."""
        out: Tensor = self.act(self.conv(x))
        return out


class ConvNormAct(nn.Module):
    """``act(norm(conv(x)))`` with "same" padding for odd kernels and no convolution bias.

    The bias is left out because the norm that follows subtracts it again (Ioffe and Szegedy, 2015,
    section 3.2); ``bias`` keeps it for networks that were published with one. ``kernel`` and
    ``padding`` may differ by axis, as (height, width); ``padding`` None is half the kernel. ``eps``
    and ``momentum`` are the batch norm's.

    Shapes: (N, in_chans, H, W) -> (N, out_chans, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_chans: int,
        out_chans: int,
        kernel: Size,
        stride: int = 1,
        groups: int = 1,
        act: type[nn.Module] | None = nn.ReLU,
        *,
        padding: Size | None = None,
        bias: bool = False,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        if padding is None:
            padding = _half(kernel)
        self.conv = nn.Conv2d(
            in_chans, out_chans, kernel, stride, padding=padding, groups=groups, bias=bias
        )
        self.norm = nn.BatchNorm2d(out_chans, eps=eps, momentum=momentum)
        self.act = make_act(act)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, out_chans, H', W')."""
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out


def _half(kernel: Size) -> Size:
    return kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)


@dataclass(frozen=True)
class NormAct:
    """What all units of a network share: the activation, and eps and momentum of batch norm."""

    act: type[nn.Module] | None
    eps: float = 1e-5
    momentum: float = 0.1

    def conv(
        self, in_chans: int, out_chans: int, kernel: Size, stride: int = 1, groups: int = 1
    ) -> ConvNormAct:
        """A convolution with this norm and activation behind it."""
        return ConvNormAct(
            in_chans,
            out_chans,
            kernel,
            stride,
            groups,
            self.act,
            eps=self.eps,
            momentum=self.momentum,
        )
