"""MobileNetV3 in torchvision and timm, whose batch norms differ."""

from parity import Oracle
from torch import nn

from vertebra.nn import Backbone

ORACLES = [
    Oracle(
        "mobilenet_v3_large",
        "torchvision",
        "mobilenet_v3_large",
        [f"features.{index}" for index in (1, 3, 6, 12, 15)],
        size=75,
    ),
    Oracle(
        "mobilenet_v3_small",
        "torchvision",
        "mobilenet_v3_small",
        [f"features.{index}" for index in (1, 3, 8, 11)],
        size=97,
    ),
    Oracle(
        "mobilenet_v3_large",
        "timm",
        "mobilenetv3_large_100",
        [f"blocks.{group}" for group in (0, 1, 2, 4, 5)],
        size=64,
    ),
    Oracle(
        "mobilenet_v3_small",
        "timm",
        "mobilenetv3_small_100",
        [f"blocks.{group}" for group in (0, 1, 3, 4)],
        size=75,
    ),
]


def _gate(net: Backbone) -> None:
    net.stages[2][0].squeeze.gate = nn.Sigmoid()


def _squeeze_act(net: Backbone) -> None:
    net.stages[4][1].squeeze.act = nn.Hardswish()


def _swish(net: Backbone) -> None:
    """What hard swish approximates."""
    net.stages[3][1].expand.act = nn.SiLU()


def _hard_swish_early(net: Backbone) -> None:
    """In a block that has ReLU."""
    net.stages[1][1].depthwise.act = nn.Hardswish()


def _squeeze_left_out(net: Backbone) -> None:
    net.stages[3][4].squeeze = nn.Identity()


def _no_shortcut(net: Backbone) -> None:
    net.stages[4][2].residual = False


def _relu_in_the_head(net: Backbone) -> None:
    net.head.after[1] = nn.ReLU()


def _eps(net: Backbone) -> None:
    """timm's."""
    net.stages[0][0].project.norm.eps = 1e-5


def _momentum(net: Backbone) -> None:
    """timm's."""
    net.head.before.norm.momentum = 0.1


TEETH = (
    "mobilenet_v3_large",
    [
        _gate,
        _squeeze_act,
        _swish,
        _hard_swish_early,
        _squeeze_left_out,
        _no_shortcut,
        _relu_in_the_head,
        _eps,
        _momentum,
    ],
)
