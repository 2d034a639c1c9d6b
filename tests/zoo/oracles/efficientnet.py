"""EfficientNets in torchvision and timm, whose batch norms differ from b5 on."""

from parity import Oracle
from torch import nn

from vertebra.nn import Backbone

# Sizes of the images to compare on; 75 is odd on four of its five levels.
SIZES = {"b0": 75, "b1": 64, "b2": 75, "b3": 64, "b4": 64, "b5": 64, "b6": 64, "b7": 64}
TORCHVISION_MAPS = [f"features.{group}" for group in (1, 2, 3, 5, 7)]
TIMM_MAPS = [f"blocks.{group}" for group in (0, 1, 2, 4, 6)]


def _torchvision(ours: str, theirs: str, size: int) -> Oracle:
    return Oracle(ours, "torchvision", theirs, TORCHVISION_MAPS, size)


def _timm(name: str, size: int) -> Oracle:
    return Oracle(name, "timm", name, TIMM_MAPS, size)


ORACLES = [
    *(
        _torchvision(f"efficientnet_{scale}", f"efficientnet_{scale}", size)
        for scale, size in SIZES.items()
    ),
    _torchvision("efficientnet", "efficientnet_b0", 64),
    *(_timm(f"efficientnet_{scale}", 64) for scale in ("b0", "b3", "b5")),
    *(_timm(f"efficientnet_lite{scale}", 75 if scale == 0 else 64) for scale in range(5)),
]


def _relu_in_the_squeeze(net: Backbone) -> None:
    net.stages[2][1].squeeze.act = nn.ReLU()


def _hard_gate(net: Backbone) -> None:
    """MobileNetV3's."""
    net.stages[3][2].squeeze.gate = nn.Hardsigmoid()


def _hard_swish(net: Backbone) -> None:
    net.stages[1][0].expand.act = nn.Hardswish()


def _relu6(net: Backbone) -> None:
    """The lite networks'."""
    net.stages[4][1].depthwise.act = nn.ReLU6()


def _squeeze_left_out(net: Backbone) -> None:
    net.stages[0][0].squeeze = nn.Identity()


def _squeeze_before_the_depthwise(net: Backbone) -> None:
    block = net.stages[2][1]
    block.expand, block.squeeze = nn.Sequential(block.expand, block.squeeze), nn.Identity()


def _activation_after_the_projection(net: Backbone) -> None:
    net.stages[2][1].project.act = nn.SiLU()


def _no_shortcut(net: Backbone) -> None:
    net.stages[3][5].residual = False


def _eps(net: Backbone) -> None:
    net.head.before.norm.eps = 1e-3


def _momentum(net: Backbone) -> None:
    net.stages[4][0].project.norm.momentum = 0.01


TEETH = (
    "efficientnet_b0",
    [
        _relu_in_the_squeeze,
        _hard_gate,
        _hard_swish,
        _relu6,
        _squeeze_left_out,
        _squeeze_before_the_depthwise,
        _activation_after_the_projection,
        _no_shortcut,
        _eps,
        _momentum,
    ],
)
