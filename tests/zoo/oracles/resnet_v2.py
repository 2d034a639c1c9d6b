"""Pre-activation ResNets in timm."""

from parity import Oracle
from torch import Tensor, nn

from vertebra.nn import Backbone

MAPS = [f"stages.{stage}" for stage in range(4)]

ORACLES = [
    Oracle("resnet50_v2", "timm", "resnetv2_50", MAPS, size=75),
    Oracle("resnet101_v2", "timm", "resnetv2_101", MAPS, size=64),
    Oracle("resnet152_v2", "timm", "resnetv2_152", MAPS, size=64),
]


def _norm_eps(net: Backbone) -> None:
    net.stages[1][1].norm2.eps = 1e-3


def _norm_momentum(net: Backbone) -> None:
    net.stages[1][1].norm3.momentum = 0.01


def _head_eps(net: Backbone) -> None:
    net.head.before[0].eps = 1e-3


def _no_last_activation(net: Backbone) -> None:
    net.head.before[1] = nn.Identity()


def _gelu(net: Backbone) -> None:
    net.stages[2][3].act = nn.GELU()


def _activation_after_the_sum(net: Backbone) -> None:
    """As in the first version of residual networks."""
    net.stages[1][2].register_forward_hook(lambda _block, _inputs, out: out.relu())


def _shortcut_of_what_comes_in(net: Backbone) -> None:
    """The projection applied to the block's input, before its norm and activation."""
    block = net.stages[2][0]
    projection, seen = block.shortcut, []

    class Raw(nn.Module):
        def forward(self, _activated: Tensor) -> Tensor:
            return projection(seen.pop())

    block.register_forward_pre_hook(lambda _block, inputs: seen.append(inputs[0]))
    block.shortcut = Raw()


def _identity_of_the_activated(net: Backbone) -> None:
    """The other way round: the identity shortcut, too, behind norm and activation."""
    net.stages[2][1].shortcut = nn.Identity()


def _stride_first(net: Backbone) -> None:
    """In the first 1x1 convolution, as the authors' code has it: every shape stays."""
    block = net.stages[1][0]
    block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)


def _pool_rounding(net: Backbone) -> None:
    net.stem[1].ceil_mode = True


TEETH = (
    "resnet50_v2",
    [
        _norm_eps,
        _norm_momentum,
        _head_eps,
        _no_last_activation,
        _gelu,
        _activation_after_the_sum,
        _shortcut_of_what_comes_in,
        _identity_of_the_activated,
        _stride_first,
        _pool_rounding,
    ],
)
