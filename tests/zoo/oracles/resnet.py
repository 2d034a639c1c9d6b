"""ResNets in torchvision and timm."""

from parity import Oracle
from torch import nn

from vertebra.nn import Backbone

# In torchvision under the same name, with the size of the images to compare on.
SIZES = {
    "resnet18": 75,  # odd: where rounding up and down part
    "resnet34": 64,
    "resnet50": 75,
    "resnet101": 64,
    "resnet152": 64,
    "resnext50_32x4d": 64,
    "resnext101_32x8d": 64,
    "resnext101_64x4d": 64,
    "wide_resnet50_2": 64,
    "wide_resnet101_2": 64,
}
# timm has all of these, with torchvision's names and code much alike: one of each kind will do.
IN_TIMM = ("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2")
MAPS = ["layer1", "layer2", "layer3", "layer4"]


def _stride_first(net: nn.Module) -> None:
    """torchvision's bottlenecks stride in their 3x3 convolution, the paper's in the first 1x1."""
    for stage in (net.layer2, net.layer3, net.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)


ORACLES = [
    *(Oracle(name, "torchvision", name, MAPS, size) for name, size in SIZES.items()),
    *(Oracle(name, "timm", name, MAPS, SIZES[name]) for name in IN_TIMM),
    Oracle("seresnet50", "timm", "seresnet50", MAPS, size=75),
    Oracle("resnet50_v1", "torchvision", "resnet50", MAPS, size=75, change=_stride_first),
]


def _last_unit(net: Backbone) -> nn.Module:
    """The last convolution and norm of a block in the middle of the network."""
    return net.stages[1][1].branch[-1]


def _norm_eps(net: Backbone) -> None:
    _last_unit(net).norm.eps = 1e-3


def _shortcut_eps(net: Backbone) -> None:
    net.stages[2][0].shortcut.norm.eps = 1e-3


def _stem_eps(net: Backbone) -> None:
    net.stem[0].norm.eps = 1e-3


def _norm_momentum(net: Backbone) -> None:
    _last_unit(net).norm.momentum = 0.2


def _block_gelu(net: Backbone) -> None:
    net.stages[1][1].act = nn.GELU()


def _branch_hardswish(net: Backbone) -> None:
    net.stages[3][0].branch[0].act = nn.Hardswish()


def _stem_gelu(net: Backbone) -> None:
    net.stem[0].act = nn.GELU()


def _stride_elsewhere(net: Backbone) -> None:
    """In the other convolution, as the paper's bottlenecks have it: every shape stays."""
    units = net.stages[1][0].branch
    strided = next(unit for unit in units if unit.conv.stride == (2, 2))
    other = next(unit for unit in units if unit.conv.stride == (1, 1))
    strided.conv.stride, other.conv.stride = (1, 1), (2, 2)


def _stem_stride(net: Backbone) -> None:
    net.stem[0].conv.stride = (1, 1)


def _pool_stride(net: Backbone) -> None:
    net.stem[1].stride = 1


def _pool_rounding(net: Backbone) -> None:
    net.stem[1].ceil_mode = True


def _mean_pooling(net: Backbone) -> None:
    net.stem[1] = nn.AvgPool2d(3, 2, 1)


def _dilation(net: Backbone) -> None:
    conv = next(unit.conv for unit in net.stages[3][1].branch if unit.conv.kernel_size == (3, 3))
    conv.dilation, conv.padding = (2, 2), (2, 2)


def _shortcut_left_out(net: Backbone) -> None:
    net.stages[0][1].shortcut = None


def _activation_before_the_sum(net: Backbone) -> None:
    _last_unit(net).act = nn.ReLU()


TEETH = (
    "resnet50",
    [
        _norm_eps,
        _shortcut_eps,
        _stem_eps,
        _norm_momentum,
        _block_gelu,
        _branch_hardswish,
        _stem_gelu,
        _stride_elsewhere,
        _stem_stride,
        _pool_stride,
        _pool_rounding,
        _mean_pooling,
        _dilation,
        _shortcut_left_out,
        _activation_before_the_sum,
    ],
)
