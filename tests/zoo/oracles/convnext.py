"""ConvNeXt in torchvision and timm."""

import torch
from parity import Oracle
from torch import Tensor, nn

from vertebra.nn import Backbone

TORCHVISION_MAPS = [f"features.{index}" for index in (1, 3, 5, 7)]
TIMM_MAPS = [f"stages.{index}" for index in range(4)]

# The size of the images to compare on; odd ones are where a pixel is left over.
IN_TORCHVISION = {
    "convnext_tiny": 75,
    "convnext_small": 64,
    "convnext_base": 64,
    "convnext_large": 64,
}
IN_TIMM = {
    "convnext_atto": 75,
    "convnext_femto": 64,
    "convnext_pico": 97,
    "convnext_nano": 64,
    "convnext_tiny": 75,
    "convnext_small": 64,
    "convnext_base": 64,
    "convnext_large": 64,
    "convnext_xlarge": 64,
}

ORACLES = [
    *(
        Oracle(name, "torchvision", name, TORCHVISION_MAPS, size)
        for name, size in IN_TORCHVISION.items()
    ),
    *(Oracle(name, "timm", name, TIMM_MAPS, size) for name, size in IN_TIMM.items()),
]


def _block(net: Backbone) -> nn.Module:
    return net.stages[1][2]


def _block_eps(net: Backbone) -> None:
    _block(net).norm.eps = 1e-5


def _stem_eps(net: Backbone) -> None:
    net.stem.norm.eps = 1e-5


def _downsample_eps(net: Backbone) -> None:
    net.stages[2][0].norm.eps = 1e-5


def _head_eps(net: Backbone) -> None:
    net.head.after.eps = 1e-5


def _gelu_by_tanh(net: Backbone) -> None:
    _block(net).mlp.act = nn.GELU("tanh")


def _no_layer_scale(net: Backbone) -> None:
    nn.init.ones_(_block(net).layer_scale)


def _smaller_kernel(net: Backbone) -> None:
    """5x5: the border of the 7x7 left out."""
    weight = _block(net).depthwise.weight
    border = torch.ones_like(weight, dtype=torch.bool)
    border[..., 1:-1, 1:-1] = False
    weight.masked_fill_(border, 0)


def _norm_before_pooling(net: Backbone) -> None:
    """As swin's head has it: the mean of norms for the norm of the mean."""
    norm, net.head.after = net.head.after, nn.Identity()
    net.head.before = _ChannelsLast(norm)


class _ChannelsLast(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _no_norm_before_downsampling(net: Backbone) -> None:
    net.stages[1][0].norm = nn.Identity()


TEETH = (
    "convnext_tiny",
    [
        _block_eps,
        _stem_eps,
        _downsample_eps,
        _head_eps,
        _gelu_by_tanh,
        _no_layer_scale,
        _smaller_kernel,
        _norm_before_pooling,
        _no_norm_before_downsampling,
    ],
)
