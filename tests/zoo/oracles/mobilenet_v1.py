"""MobileNet in timm, which has the full width only; the others in test_references_mobilenet_v1."""

from parity import Oracle
from torch import nn

from vertebra.nn import Backbone

ORACLES = [
    Oracle(
        "mobilenet_v1", "timm", "mobilenetv1_100", [f"blocks.{index}" for index in range(5)], 75
    ),
]


def _relu(net: Backbone) -> None:
    """The paper's."""
    net.stages[1][1].depthwise.act = nn.ReLU()


def _linear_pointwise(net: Backbone) -> None:
    """MobileNetV2's."""
    net.stages[3][2].pointwise.act = nn.Identity()


def _stride_of_the_last_block(net: Backbone) -> None:
    """What the paper's table prints."""
    net.stages[4][1].depthwise.conv.stride = (2, 2)


def _shortcut(net: Backbone) -> None:
    net.stages[3][3].register_forward_hook(lambda _module, inputs, output: inputs[0] + output)


def _eps(net: Backbone) -> None:
    net.stages[2][1].pointwise.norm.eps = 1e-3


def _momentum(net: Backbone) -> None:
    net.stem.norm.momentum = 0.01


TEETH = (
    "mobilenet_v1",
    [
        _relu,
        _linear_pointwise,
        _stride_of_the_last_block,
        _shortcut,
        _eps,
        _momentum,
    ],
)
