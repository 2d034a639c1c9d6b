"""GoogLeNet in torchvision; timm has none."""

from typing import Any

from parity import Oracle
from torch import Tensor, nn

from vertebra.nn import Backbone

MAPS = ["conv3", "inception3b", "inception4e", "inception5b"]


def _in_our_order(returned: Any) -> tuple[Tensor, ...]:
    """The upper auxiliary classifier comes first there."""
    return returned.logits, returned.aux_logits1, returned.aux_logits2


ORACLES = [
    Oracle(
        "googlenet",
        "torchvision",
        "googlenet",
        MAPS,
        size=97,
        outputs=_in_our_order,
        given={"init_weights": False},
    ),
    Oracle(
        "googlenet",
        "torchvision",
        "googlenet",
        MAPS,
        size=75,
        given={"init_weights": False, "aux_logits": False},
        ours_given={"aux_heads": False},
    ),
]


def _eps(net: Backbone) -> None:
    net.stages[2][3].branch5[0].norm.eps = 1e-5


def _momentum(net: Backbone) -> None:
    net.stem.norm.momentum = 0.01


def _last_pool_of_the_paper(net: Backbone) -> None:
    net.stages[3][0] = nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _pool_rounds_down(net: Backbone) -> None:
    net.stages[1][0].ceil_mode = False


def _mean_in_the_pool_branch(net: Backbone) -> None:
    net.stages[1][2].branch_pool[0] = nn.AvgPool2d(3, stride=1, padding=1)


def _branches_in_another_order(net: Backbone) -> None:
    """Both branches of 5b that are swapped are 128 wide, so that every shape stays."""
    module = net.stages[3][2]
    module.branch5, module.branch_pool = module.branch_pool, module.branch5


def _reduction_without_activation(net: Backbone) -> None:
    net.stages[2][1].branch3[0].act = nn.Identity()


def _aux_pools_as_the_paper(net: Backbone) -> None:
    net.aux[0].pool = nn.AvgPool2d(3, stride=1)


def _aux_without_activation(net: Backbone) -> None:
    net.aux[1].act = nn.Identity()


def _aux_eps(net: Backbone) -> None:
    net.aux[0].conv.norm.eps = 1e-5


def _aux_swapped(net: Backbone) -> None:
    """The second head's convolution takes 528 channels, so only what follows is swapped."""
    first, second = net.aux
    first.hidden, second.hidden = second.hidden, first.hidden


def _aux_elsewhere(net: Backbone) -> None:
    """On 4b, which has as many channels as 4a."""
    net.aux_places = ((2, 2), net.aux_places[1])


TEETH = (
    "googlenet",
    [
        _eps,
        _momentum,
        _last_pool_of_the_paper,
        _pool_rounds_down,
        _mean_in_the_pool_branch,
        _branches_in_another_order,
        _reduction_without_activation,
        _aux_pools_as_the_paper,
        _aux_without_activation,
        _aux_eps,
        _aux_swapped,
        _aux_elsewhere,
    ],
)
