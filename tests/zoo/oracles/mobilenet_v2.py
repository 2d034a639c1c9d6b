"""MobileNetV2 in torchvision and timm."""

from parity import Oracle
from torch import nn

from vertebra.nn import Backbone

TORCHVISION_MAPS = [f"features.{index}" for index in (1, 3, 6, 13, 17)]
TIMM_MAPS = [f"blocks.{group}" for group in (0, 1, 2, 4, 6)]

ORACLES = [
    Oracle("mobilenet_v2", "torchvision", "mobilenet_v2", TORCHVISION_MAPS, size=75),
    *(
        Oracle(
            f"mobilenet_v2{width}",
            "torchvision",
            "mobilenet_v2",
            TORCHVISION_MAPS,
            given={"width_mult": multiplier},
        )
        for width, multiplier in (("_050", 0.5), ("_140", 1.4))
    ),
    Oracle("mobilenet_v2", "timm", "mobilenetv2_100", TIMM_MAPS, size=64),
    Oracle("mobilenet_v2_050", "timm", "mobilenetv2_050", TIMM_MAPS, size=75),
    Oracle("mobilenet_v2_140", "timm", "mobilenetv2_140", TIMM_MAPS, size=64),
]


def _relu(net: Backbone) -> None:
    """ReLU for ReLU6."""
    net.stages[2][1].depthwise.act = nn.ReLU()


def _activation_after_the_bottleneck(net: Backbone) -> None:
    net.stages[1][1].project.act = nn.ReLU6()


def _no_shortcut(net: Backbone) -> None:
    net.stages[3][1].residual = False


def _stride_in_the_projection(net: Backbone) -> None:
    """In the last convolution instead of the depthwise: every shape stays."""
    block = net.stages[2][0]
    block.depthwise.conv.stride, block.project.conv.stride = (1, 1), (2, 2)


def _eps(net: Backbone) -> None:
    net.head.before.norm.eps = 1e-3


def _momentum(net: Backbone) -> None:
    net.stages[0][0].depthwise.norm.momentum = 0.01


# The network to break and the ways to break it; each must be noticed.
TEETH = (
    "mobilenet_v2",
    [
        _relu,
        _activation_after_the_bottleneck,
        _no_shortcut,
        _stride_in_the_projection,
        _eps,
        _momentum,
    ],
)
