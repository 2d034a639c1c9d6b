"""Swin transformer: attention within windows that shift from block to block.

Liu, Lin, Cao, Hu, Wei, Zhang, Lin and Guo, "Swin Transformer: Hierarchical Vision Transformer using
Shifted Windows", 2021, arXiv:2103.14030 (version 1 of the network).

The paper mentions neither the norm after the patch embedding nor that in patch merging; both are in
the authors' code and here. Maps of any size are taken as torchvision does: padded by zeros at the
bottom and the right to whole windows, and not shifted along an axis that one window covers. timm
shifts before it pads and shrinks windows on small maps, so it agrees at 224 pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.nn import (
    Backbone,
    DropPath,
    InitRule,
    LayerNorm2d,
    LinearHead,
    Mlp,
    Stage,
    drop_path_rates,
)
from vertebra.nn.init import default_linear, default_norm, truncated_normal
from vertebra.zoo.family import Family, Request, Row, Source, StateDict
from vertebra.zoo.renaming import block_path, by_pattern

# Section 3.3: the patch's side, the window's side M and the channels d of a head.
PATCH, WINDOW, HEAD = 4, 7, 32
TOKENS = WINDOW * WINDOW


@dataclass(frozen=True, kw_only=True)
class SwinRow(Row):
    """``width`` is the paper's C, the channels of the first stage; each stage doubles them."""

    width: int
    depths: tuple[int, int, int, int]
    year: int = 2021
    paper: str = "2103.14030"
    smallest: int = PATCH


class PatchEmbedding(nn.Module):
    """Patches of 4x4 pixels, each a vector, and a norm (section 3.1).

    Pixels that fill no patch, at the bottom and the right, are left out.

    Shapes: (N, in_chans, H, W) -> (N, channels, floor(H / 4), floor(W / 4)).
    """

    def __init__(self, in_chans: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, channels, PATCH, stride=PATCH)
        self.norm = LayerNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, channels, H', W')."""
        out: Tensor = self.norm(self.proj(x))
        return out


class PatchMerging(nn.Module):
    """2x2 neighbours side by side in one vector, a norm, half as many channels (section 3.1).

    The neighbours stand column by column: top left, bottom left, top right, bottom right. A map of
    odd sides is padded by zeros.

    Shapes: (N, C, H, W) -> (N, 2C, ceil(H / 2), ceil(W / 2)).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 2C, H', W')."""
        x = pad_to_multiple(x.permute(0, 2, 3, 1), 2)
        count, height, width, channels = x.shape
        x = x.reshape(count, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 4, 2, 5)
        merged: Tensor = self.reduction(self.norm(x.flatten(3)))
        return merged.permute(0, 3, 1, 2)


def pad_to_multiple(x: Tensor, side: int) -> Tensor:
    """Zeros at the bottom and the right: (N, H, W, C) -> (N, H', W', C), multiples of ``side``."""
    bottom, right = -x.shape[1] % side, -x.shape[2] % side
    return F.pad(x, (0, 0, 0, right, 0, bottom)) if bottom or right else x


def relative_positions() -> Tensor:
    """For each query and key the row of the bias table that their offset has: (TOKENS, TOKENS)."""
    place = torch.arange(WINDOW)
    offset = place[:, None] - place + WINDOW - 1
    rows = offset[:, None, :, None] * (2 * WINDOW - 1) + offset[:, None, :]
    return rows.reshape(TOKENS, TOKENS)


def parted_pairs(shift: int) -> Tensor:
    """Pairs of tokens that lie together in a rolled map only: (2, TOKENS, TOKENS).

    The last ``shift`` places of an axis come from its other end. First for the last row of windows,
    then for the last column.
    """
    wrapped = torch.arange(WINDOW) >= WINDOW - shift
    ends = torch.stack([wrapped.repeat_interleave(WINDOW), wrapped.repeat(WINDOW)])
    return ends[:, :, None] != ends[:, None, :]


class WindowAttention(nn.Module):
    """``softmax(q k^T / sqrt(d) + B) v`` within each window: section 3.2, equation 4.

    B is learnt for each offset and head. With a ``shift`` the map is rolled by it and rolled back
    afterwards (figure 4); no token attends to one that only the roll has brought near: minus
    infinity is added there, where torchvision and timm add -100.

    Shapes: (N, H, W, C) -> (N, H, W, C).
    """

    offsets: Tensor
    parted: Tensor

    def __init__(self, channels: int, shift: int) -> None:
        super().__init__()
        self.heads = channels // HEAD
        self.shift = shift
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.bias_table = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, self.heads))
        self.register_buffer("offsets", relative_positions(), persistent=False)
        self.register_buffer("parted", parted_pairs(shift), persistent=False)
        # A network built on meta has no numbers in its tables until it is given weights.
        register: Callable[..., object] = self.register_load_state_dict_post_hook
        register(WindowAttention._fill_tables)

    @staticmethod
    def _fill_tables(module: nn.Module, _incompatible: object) -> None:
        assert isinstance(module, WindowAttention)
        module.offsets.copy_(relative_positions())
        module.parted.copy_(parted_pairs(module.shift))

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        count, height, width, channels = x.shape
        x = pad_to_multiple(x, WINDOW)
        rows, columns = x.shape[1] // WINDOW, x.shape[2] // WINDOW
        down, right = (self.shift if windows > 1 else 0 for windows in (rows, columns))
        bias = self.bias_table.t()[:, self.offsets][None]
        if down or right:
            x = x.roll((-down, -right), (1, 2))
            bias = bias + self.mask(bias, rows, columns)
            bias = bias.expand(count, -1, -1, -1, -1).flatten(0, 1)
        x = x.reshape(count, rows, WINDOW, columns, WINDOW, channels).transpose(2, 3)
        x = self.attend(x.reshape(-1, TOKENS, channels), bias)
        x = x.reshape(count, rows, columns, WINDOW, WINDOW, channels).transpose(2, 3)
        x = x.reshape(count, rows * WINDOW, columns * WINDOW, channels)
        if down or right:
            x = x.roll((down, right), (1, 2))
        return x[:, :height, :width]

    def mask(self, like: Tensor, rows: int, columns: int) -> Tensor:
        """What is added for ``rows`` x ``columns`` windows: (windows, 1, TOKENS, TOKENS)."""
        mask = like.new_zeros((rows, columns, TOKENS, TOKENS))
        if rows > 1:
            mask[-1].masked_fill_(self.parted[0], -torch.inf)
        if columns > 1:
            mask[:, -1].masked_fill_(self.parted[1], -torch.inf)
        return mask.flatten(0, 1)[:, None]

    def attend(self, x: Tensor, bias: Tensor) -> Tensor:
        """Windows (B, TOKENS, C), bias (B or 1, heads, TOKENS, TOKENS) -> (B, TOKENS, C)."""
        qkv = self.qkv(x).reshape(-1, TOKENS, 3, self.heads, HEAD)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        # Faster on CPU than written-out matrix products.
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``: equation 3, figure 3b.

    Maps lie in memory with their channels last from block to block: no permutation here copies.

    Shapes: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, channels: int, shift: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, shift)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, 4 * channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        x = x.permute(0, 2, 3, 1)
        x = x + self.drop_path(self.attention(self.norm1(x)))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x.permute(0, 3, 1, 2)


def build(name: str, row: SwinRow, request: Request) -> Backbone:
    """Build one row of the table; every second block of a stage has its windows shifted."""
    stages: list[Stage] = []
    channels = row.width
    for rates in drop_path_rates(request.drop_path, row.depths):
        merging = [PatchMerging(channels)] if stages else []
        channels = row.width * 2 ** len(stages)
        blocks = [
            Block(channels, WINDOW // 2 if place % 2 else 0, rate)
            for place, rate in enumerate(rates)
        ]
        stages.append(Stage([*merging, *blocks], channels, stride=2 if stages else 1))
    return Backbone(
        name=name,
        stem=PatchEmbedding(request.in_chans, row.width),
        stem_stride=PATCH,
        stages=stages,
        head=LinearHead(
            channels, request.num_classes, request.dropout, before=LayerNorm2d(channels)
        ),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def init_rule(row: SwinRow, request: Request) -> InitRule:
    """torchvision's: N(0, 0.02^2) truncated, no biases; a convolution's default for the patches."""

    def rule(
        path: str, module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator
    ) -> None:
        if isinstance(module, nn.Conv2d):
            default_linear(parameter, module.weight[0].numel(), generator)
        elif name == "bias_table" or (isinstance(module, nn.Linear) and name == "weight"):
            truncated_normal(parameter, 0.02, generator)
        else:
            default_norm(name, parameter)

    return rule


# torchvision's names and timm's, which nowhere contradict each other.
_NAMES = (
    # torchvision's stages stand at odd places, its patch mergings at the even places between
    (r"^features\.0\.0\.", "stem.proj."),
    (r"^features\.0\.2\.", "stem.norm."),
    (r"^features\.([1357])\.(\d+)\.", lambda match: block_path(int(match[1]) // 2, int(match[2]))),
    (r"^features\.([246])\.", lambda match: f"stages.{int(match[1]) // 2}.0."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
    (r"^head\.(weight|bias)$", r"head.fc.\1"),
    # timm's
    (r"^patch_embed\.", "stem."),
    (r"^layers\.(\d)\.blocks\.(\d+)\.", lambda match: block_path(int(match[1]), int(match[2]))),
    (r"^layers\.(\d)\.downsample\.", r"stages.\1.0."),
    # of both
    (r"\.attn\.relative_position_bias_table$", ".attention.bias_table"),
    (r"\.attn\.", ".attention."),
    (r"^norm\.", "head.before."),
)


def from_elsewhere(row: SwinRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename torchvision's or timm's state dict to ours, without the table of offsets."""
    renamed = by_pattern(state_dict, _NAMES)
    return {name: renamed[name] for name in renamed if "relative_position_index" not in name}


TIMM = "swin_{}_patch4_window7_224"

# Section 3.3; drop-path as in the authors' configurations, which train swin_l on ImageNet-22K.
VARIANTS: dict[str, SwinRow] = {
    "swin_t": SwinRow(width=96, depths=(2, 2, 6, 2), drop_path=0.2, timm=TIMM.format("tiny")),
    "swin_s": SwinRow(width=96, depths=(2, 2, 18, 2), drop_path=0.3, timm=TIMM.format("small")),
    "swin_b": SwinRow(width=128, depths=(2, 2, 18, 2), drop_path=0.5, timm=TIMM.format("base")),
    "swin_l": SwinRow(width=192, depths=(2, 2, 18, 2), drop_path=0.2, timm=TIMM.format("large")),
}

FAMILY = Family(
    name="swin",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    sources={"torchvision": Source(from_elsewhere), "timm": Source(from_elsewhere)},
)
