"""VGG in torchvision and timm."""

from parity import Oracle
from torch import nn

from vertebra.nn import Backbone

# The last ReLU before each pooling in the other libraries' flat list, and the size of the images:
# odd where rounding up and down part, else the smallest that five poolings take.
PLACES = {
    "vgg11_bn": ((2, 6, 13, 20, 27), 75),
    "vgg11": ((1, 4, 9, 14, 19), 75),
    "vgg13": ((3, 8, 13, 18, 23), 32),
    "vgg16": ((3, 8, 15, 22, 29), 32),
    "vgg19": ((3, 8, 17, 26, 35), 32),
    "vgg13_bn": ((5, 12, 19, 26, 33), 32),
    "vgg16_bn": ((5, 12, 22, 32, 42), 32),
    "vgg19_bn": ((5, 12, 25, 38, 51), 32),
}

ORACLES = [
    Oracle(name, library, name, [f"features.{place}" for place in places], size)
    for name, (places, size) in PLACES.items()
    for library in ("torchvision", "timm")
]


def _norm_eps(net: Backbone) -> None:
    net.stages[2][2].norm.eps = 1e-3


def _norm_momentum(net: Backbone) -> None:
    net.stages[4][1].norm.momentum = 0.2


def _norm_after_the_activation(net: Backbone) -> None:
    unit = net.stages[1][1]
    unit.norm, unit.act = unit.act, unit.norm


def _convolution_without_bias(net: Backbone) -> None:
    net.stages[0][0].conv.bias.zero_()


def _gelu(net: Backbone) -> None:
    net.stages[3][2].act = nn.GELU()


def _pool_rounding(net: Backbone) -> None:
    net.stages[1][0].ceil_mode = True


def _mean_pooling(net: Backbone) -> None:
    net.stages[3][0] = nn.AvgPool2d(2)


def _last_pool_left_out(net: Backbone) -> None:
    net.head.pool[0] = nn.Identity()


def _adaptive_pooling_by_maximum(net: Backbone) -> None:
    net.head.pool[1] = nn.AdaptiveMaxPool2d(7)


def _linear_hidden_layer(net: Backbone) -> None:
    net.head.hidden.relu6 = nn.Identity()


TEETH = (
    "vgg11_bn",
    [
        _norm_eps,
        _norm_momentum,
        _norm_after_the_activation,
        _convolution_without_bias,
        _gelu,
        _pool_rounding,
        _mean_pooling,
        _last_pool_left_out,
        _adaptive_pooling_by_maximum,
        _linear_hidden_layer,
    ],
)
