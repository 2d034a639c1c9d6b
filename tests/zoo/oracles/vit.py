"""Vision transformers in torchvision and timm."""

from typing import Any

from parity import Oracle
from torch import Tensor, nn

from vertebra.nn import Backbone

# In torchvision, with the side of the images to compare on: as few patches as show an order.
SIZES = {"vit_b_16": 32, "vit_b_32": 64, "vit_l_16": 32, "vit_l_32": 64, "vit_h_14": 28}
TIMM = {
    "vit_ti_16": ("vit_tiny_patch16_224", 12, 80),
    "vit_s_16": ("vit_small_patch16_224", 12, 32),
    "vit_b_16": ("vit_base_patch16_224", 12, 32),
    "vit_b_32": ("vit_base_patch32_224", 12, 64),
    "vit_l_16": ("vit_large_patch16_224", 24, 32),
    "vit_l_32": ("vit_large_patch32_224", 24, 64),
    "vit_h_14": ("vit_huge_patch14_224", 32, 28),
}
DEPTHS = {name: depth for name, (_, depth, _) in TIMM.items()}


def _as_map(tokens: Tensor) -> Tensor:
    """Without the class token; the images are square."""
    side = round((tokens.shape[1] - 1) ** 0.5)
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))


def _maps(pattern: str, depth: int) -> list[str]:
    """What the last block of each quarter gives."""
    return [pattern.format(depth * quarter // 4 - 1) for quarter in (1, 2, 3, 4)]


def _torchvision(name: str, size: int) -> Oracle:
    return Oracle(
        name,
        "torchvision",
        name,
        _maps("encoder.layers.encoder_layer_{}", DEPTHS[name]),
        size,
        as_map=_as_map,
        given={"image_size": size},
        ours_given={"input_size": (3, size, size)},
    )


def _timm(name: str, given: dict[str, Any], ours_given: dict[str, Any]) -> Oracle:
    theirs, depth, size = TIMM[name]
    return Oracle(
        name,
        "timm",
        theirs,
        _maps("blocks.{}", depth),
        size,
        as_map=_as_map,
        # large/32 and huge/14 have no classifier there unless asked
        given={"img_size": size, "num_classes": 1000, **given},
        ours_given={"input_size": (3, size, size), **ours_given},
    )


ORACLES = [
    *(_torchvision(name, size) for name, size in SIZES.items()),
    *(_timm(name, {}, {}) for name in TIMM),
    _timm("vit_ti_16", {"global_pool": "avg"}, {"pool": "avg"}),
]


def _approximate_gelu(net: Backbone) -> None:
    net.stages[1][0].mlp.act = nn.GELU(approximate="tanh")


def _block_eps(net: Backbone) -> None:
    net.stages[2][1].norm1.eps = 1e-5


def _last_eps(net: Backbone) -> None:
    net.head.norm.eps = 1e-5


def _heads(net: Backbone) -> None:
    net.stages[3][2].attention.heads = 6


def _norms_swapped(net: Backbone) -> None:
    block = net.stages[0][1]
    block.norm1, block.norm2 = block.norm2, block.norm1


def _mean_over_tokens(net: Backbone) -> None:
    net.head.pool_name = "avg"


def _no_last_norm(net: Backbone) -> None:
    net.head.norm = nn.Identity()


def _positions_by_column(net: Backbone) -> None:
    """The table's grid read in the other direction."""
    positions = net.stem.positions
    side = net.stem.grid[0]
    grid = positions[:, 1:].unflatten(1, (side, side)).transpose(1, 2).flatten(1, 2).clone()
    positions.data[:, 1:] = grid


def _no_position_for_the_class(net: Backbone) -> None:
    net.stem.positions.data[:, 0] = 0


TEETH = (
    "vit_ti_16",
    [
        _approximate_gelu,
        _block_eps,
        _last_eps,
        _heads,
        _norms_swapped,
        _mean_over_tokens,
        _no_last_norm,
        _positions_by_column,
        _no_position_for_the_class,
    ],
)
