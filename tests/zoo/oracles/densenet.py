"""DenseNets in torchvision and timm."""

from collections.abc import Callable

from parity import Oracle
from torch import Tensor, nn

from vertebra.nn import Backbone

MAPS = [f"features.denseblock{block}" for block in (1, 2, 3, 4)]
# With the size of the images to compare on; odd where rounding up and down part.
SIZES = {"densenet121": 75, "densenet161": 64, "densenet169": 64, "densenet201": 64}

ORACLES = [
    Oracle(name, library, name, MAPS, size)
    for name, size in SIZES.items()
    for library in ("torchvision", "timm")
]


def _norm_eps(net: Backbone) -> None:
    net.stages[2][1].layers[5].norm1.eps = 1e-3


def _norm_momentum(net: Backbone) -> None:
    net.stages[3][1].layers[2].norm2.momentum = 0.01


def _head_eps(net: Backbone) -> None:
    net.head.before[0].eps = 1e-3


def _linear_layer(net: Backbone) -> None:
    """No activation in a layer, its norms alone."""
    net.stages[1][1].layers[3].act = nn.Identity()


def _linear_transition(net: Backbone) -> None:
    """Section 3 names only a norm and a convolution; table 1 says that ReLU is part of each."""
    net.stages[1][0].act = nn.Identity()


def _no_last_activation(net: Backbone) -> None:
    net.head.before[1] = nn.Identity()


def _max_pooled_transition(net: Backbone) -> None:
    net.stages[2][0].pool = nn.MaxPool2d(2)


def _rounded_up_transition(net: Backbone) -> None:
    net.stages[2][0].pool.ceil_mode = True


def _pool_rounding(net: Backbone) -> None:
    net.stem[1].ceil_mode = True


def _reversed(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *maps: forward(*maps[::-1])


def _newest_first(net: Backbone) -> None:
    """The maps concatenated in the other order: every shape stays."""
    layer = net.stages[0][0].layers[4]
    layer.forward = _reversed(layer.forward)


TEETH = (
    "densenet121",
    [
        _norm_eps,
        _norm_momentum,
        _head_eps,
        _linear_layer,
        _linear_transition,
        _no_last_activation,
        _max_pooled_transition,
        _rounded_up_transition,
        _pool_rounding,
        _newest_first,
    ],
)
