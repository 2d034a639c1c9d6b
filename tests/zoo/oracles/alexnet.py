"""AlexNet in torchvision: the form of 2014. Those of 2012 are in test_references_alexnet.py."""

from parity import Oracle
from torch import nn

from vertebra.nn import Backbone
from vertebra.nn.local_response import ResponseNorm

# At 171 pixels the poolings of 42 and 20 leave one over, and 4x4 become 6x6 by overlapping windows.
ORACLES = [
    Oracle("alexnet", "torchvision", "alexnet", [f"features.{i}" for i in (1, 4, 11)], size=171),
]


def _first_padding(net: Backbone) -> None:
    """As Caffe has it, for 227 pixels."""
    net.stages[0][0].conv.padding = (0, 0)


def _response_norm(net: Backbone) -> None:
    """As the paper has it."""
    net.stages[0].append(ResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0))


def _pool_rounding(net: Backbone) -> None:
    """As Caffe has it."""
    net.stages[1][0].ceil_mode = True


def _pool_without_overlap(net: Backbone) -> None:
    net.stages[2][0] = nn.MaxPool2d(2)


def _mean_pooling(net: Backbone) -> None:
    net.stages[1][0] = nn.AvgPool2d(3, 2)


def _linear_convolution(net: Backbone) -> None:
    net.stages[2][2].act = nn.Identity()


def _gelu(net: Backbone) -> None:
    net.stages[1][1].act = nn.GELU()


def _last_pool_left_out(net: Backbone) -> None:
    net.head.pool[0] = nn.Identity()


def _adaptive_pooling_by_maximum(net: Backbone) -> None:
    net.head.pool[1] = nn.AdaptiveMaxPool2d(6)


def _linear_hidden_layer(net: Backbone) -> None:
    net.head.hidden.relu7 = nn.Identity()


TEETH = (
    "alexnet",
    [
        _first_padding,
        _response_norm,
        _pool_rounding,
        _pool_without_overlap,
        _mean_pooling,
        _linear_convolution,
        _gelu,
        _last_pool_left_out,
        _adaptive_pooling_by_maximum,
        _linear_hidden_layer,
    ],
)
