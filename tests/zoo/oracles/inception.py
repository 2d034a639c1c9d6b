"""Inception v3 in torchvision and timm.

With the auxiliary head no image below 299 pixels can be trained on; what needs none is smaller.
"""

from parity import Oracle
from torch import Tensor, nn

from vertebra.nn import Backbone

MAPS = ["Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"]


def _both(returned: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    logits, aux = returned
    return logits, aux


def _aux_in_training_only(net: nn.Module) -> None:
    """timm's network gives auxiliary logits when evaluating too."""
    net.register_forward_hook(lambda net, _inputs, both: both if net.training else both[0])


ORACLES = [
    Oracle(
        "inception_v3",
        "torchvision",
        "inception_v3",
        MAPS,
        size=107,
        given={"init_weights": False, "aux_logits": False},
        ours_given={"aux_heads": False},
    ),
    Oracle(
        "inception_v3",
        "torchvision",
        "inception_v3",
        MAPS,
        size=299,
        outputs=_both,
        given={"init_weights": False},
    ),
    Oracle(
        "inception_v3",
        "timm",
        "inception_v3",
        MAPS,
        size=96,
        ours_given={"aux_heads": False},
    ),
    Oracle(
        "inception_v3",
        "timm",
        "inception_v3",
        MAPS,
        size=299,
        outputs=_both,
        given={"aux_logits": True},
        change=_aux_in_training_only,
    ),
]


def _eps(net: Backbone) -> None:
    net.stages[2][2]["double7"][3].norm.eps = 1e-5


def _momentum(net: Backbone) -> None:
    net.stages[3][1].conv3_row.norm.momentum = 3e-4


def _stem_activation(net: Backbone) -> None:
    net.stem[1].act = nn.Identity()


def _padding_left_out_of_the_mean(net: Backbone) -> None:
    """As TensorFlow averages."""
    net.stages[1][1]["pool"][0].count_include_pad = False


def _maximum_in_the_pool_branch(net: Backbone) -> None:
    net.stages[2][1]["pool"][0] = nn.MaxPool2d(3, stride=1, padding=1)


def _mean_in_the_reduction(net: Backbone) -> None:
    net.stages[3][0]["pool"] = nn.AvgPool2d(3, stride=2)


def _row_and_column_swapped(net: Backbone) -> None:
    """The order of what is joined."""
    module = net.stages[3][2]
    module.conv3_row, module.conv3_column = module.conv3_column, module.conv3_row


def _branches_in_another_order(net: Backbone) -> None:
    """Both are 192 wide, so that every shape stays."""
    module = net.stages[2][4]
    module["conv7"], module["double7"] = module["double7"], module["conv7"]


def _reduction_strides_first(net: Backbone) -> None:
    """In the unit before the last, which pads: every shape stays."""
    units = net.stages[2][0]["double3"]
    units[1].conv.stride, units[2].conv.stride = (2, 2), (1, 1)
    units[1].conv.padding, units[2].conv.padding = (0, 0), (1, 1)


TEETH = (
    "inception_v3",
    [
        _eps,
        _momentum,
        _stem_activation,
        _padding_left_out_of_the_mean,
        _maximum_in_the_pool_branch,
        _mean_in_the_reduction,
        _row_and_column_swapped,
        _branches_in_another_order,
        _reduction_strides_first,
    ],
)
