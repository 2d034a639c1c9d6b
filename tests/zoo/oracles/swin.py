"""Swin transformers in torchvision and timm."""

import torch
from parity import Oracle
from torch import Tensor, nn

from vertebra.nn import Backbone


def _as_map(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


TORCHVISION_MAPS = [f"features.{index}" for index in (1, 3, 5, 7)]
TIMM_MAPS = [f"layers.{index}" for index in range(4)]

# 75: maps of 18, 9, 5 and 3, so windows that are padded and shifted, merging of odd maps, and maps
# that one window covers. 224: what the network was made for, nothing padded; timm pads otherwise.
IN_TORCHVISION = {"swin_t": 75, "swin_s": 64, "swin_b": 64}
IN_TIMM = {"swin_t": "swin_tiny", "swin_l": "swin_large"}

ORACLES = [
    *(
        Oracle(name, "torchvision", name, TORCHVISION_MAPS, size, _as_map)
        for name, size in IN_TORCHVISION.items()
    ),
    *(
        Oracle(
            ours,
            "timm",
            f"{theirs}_patch4_window7_224",
            TIMM_MAPS,
            224,
            _as_map,
            # Any size: else timm holds its masks in buffers, which would be redrawn too.
            given={"drop_path_rate": 0.0, "strict_img_size": False},
        )
        for ours, theirs in IN_TIMM.items()
    ),
]


def _shifted(net: Backbone) -> nn.Module:
    """A block whose windows are shifted along both axes at 75 pixels."""
    return net.stages[0][1]


def _no_shift(net: Backbone) -> None:
    _shifted(net).attention.shift = 0


def _shift_by_another_half(net: Backbone) -> None:
    """ceil(7 / 2) for floor(7 / 2); the mask stays."""
    _shifted(net).attention.shift = 4


def _shift_in_the_first_block(net: Backbone) -> None:
    blocks = net.stages[0]
    blocks[0].attention.shift, blocks[1].attention.shift = 3, 0
    blocks[0].attention.parted = blocks[1].attention.parted


def _no_mask(net: Backbone) -> None:
    _shifted(net).attention.parted.zero_()


def _mask_of_the_other_axis(net: Backbone) -> None:
    attention = _shifted(net).attention
    attention.parted = attention.parted.flip(0)


def _offsets_of_key_to_query(net: Backbone) -> None:
    attention = net.stages[0][0].attention
    attention.offsets = attention.offsets.t()


def _offsets_with_axes_swapped(net: Backbone) -> None:
    attention = net.stages[0][0].attention
    attention.offsets = attention.offsets % 13 * 13 + attention.offsets // 13


def _scale_of_the_whole_width(net: Backbone) -> None:
    """1 / sqrt(C) for 1 / sqrt(C / heads)."""
    attention = net.stages[2][1].attention
    queries = attention.proj.in_features
    for parameter in (attention.qkv.weight, attention.qkv.bias):
        parameter[:queries].mul_(attention.heads**-0.5)


def _neighbours_row_by_row(net: Backbone) -> None:
    """Merged as top left, top right, bottom left, bottom right."""
    merging = net.stages[1][0]
    for parameter in (merging.norm.weight, merging.norm.bias, merging.reduction.weight):
        quarters = parameter.unflatten(-1, (2, 2, -1))
        parameter.copy_(quarters.transpose(-3, -2).flatten(-3))


def _block_eps(net: Backbone) -> None:
    net.stages[2][2].norm1.eps = 1e-6


def _merging_eps(net: Backbone) -> None:
    net.stages[3][0].norm.eps = 1e-6


def _head_eps(net: Backbone) -> None:
    net.head.before.eps = 1e-6


def _gelu_by_tanh(net: Backbone) -> None:
    net.stages[2][2].mlp.act = nn.GELU("tanh")


def _norm_behind_pooling(net: Backbone) -> None:
    """As ConvNeXt's head has it."""
    norm = net.head.before
    net.head.before = nn.Identity()
    net.head.after = nn.LayerNorm(norm.normalized_shape, eps=norm.eps, dtype=torch.float64)
    net.head.after.load_state_dict(norm.state_dict())


TEETH = (
    "swin_t",
    [
        _no_shift,
        _shift_by_another_half,
        _shift_in_the_first_block,
        _no_mask,
        _mask_of_the_other_axis,
        _offsets_of_key_to_query,
        _offsets_with_axes_swapped,
        _scale_of_the_whole_width,
        _neighbours_row_by_row,
        _block_eps,
        _merging_eps,
        _head_eps,
        _gelu_by_tanh,
        _norm_behind_pooling,
    ],
)
