"""Vision transformers: an image as a sentence of 16x16 words.

Dosovitskiy, Beyer, Kolesnikov, Weissenborn, Zhai et al., "An Image is Worth 16x16 Words:
Transformers for Image Recognition at Scale", 2020, arXiv:2010.11929. The tiny and the small one are
those of Touvron et al., "Training data-efficient image transformers & distillation through
attention", 2020, arXiv:2012.12877, without the token for distillation.

The head is the one of fine-tuning, a single linear layer; for pre-training the paper has a hidden
layer there. GELU is exact, as in torchvision and timm; the authors' code takes its approximation by
tanh. There is no dropout but the head's; the paper has 0.1 after every dense layer (its table 3).

Every block keeps the number of tokens, so that there are no stages in the paper. Here four equal
groups of blocks are the stages, and all their maps are the image divided by the patch.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from re import Match

import torch
from torch import Tensor, nn

from vertebra.core import Notice
from vertebra.nn import (
    Backbone,
    Head,
    InitRule,
    Stage,
    TransformerBlock,
    drop_path_rates,
)
from vertebra.nn.init import default_linear, default_norm, truncated_normal
from vertebra.zoo.family import Family, Option, Request, Row, Source, StateDict
from vertebra.zoo.positions import Grid, patch_grid, resize_positions
from vertebra.zoo.renaming import by_pattern

STAGES = 4
EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class ViTRow(Row):
    """One line of the paper's table 1: layers, hidden size D, MLP size and heads, for a patch.

    ``pool`` is what the option of that name says.
    """

    year: int = 2020
    paper: str = "2010.11929"
    patch: int
    depth: int
    dim: int
    hidden: int
    heads: int
    pool: str = "token"


class PatchTokens(nn.Module):
    """Patches, linearly embedded, behind a class token, plus a learned position each: equation 1.

    ``grid`` is the number of patches that the position table is made for. For images with another
    one the table is interpolated, with a warning: nothing was trained at these positions.

    Shapes: (N, in_chans, H, W) -> (N, 1 + H * W / patch^2, dim).
    """

    def __init__(self, in_chans: int, dim: int, patch: int, grid: Grid) -> None:
        super().__init__()
        self.patch, self.grid = patch, grid
        self.conv = nn.Conv2d(in_chans, dim, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.zeros(1, 1 + grid[0] * grid[1], dim))
        self._warned: set[Grid] = set()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, 1 + H * W / patch^2, dim).

        Raises:
            VertebraError: the images do not divide into patches.
        """
        grid = patch_grid((x.shape[2], x.shape[3]), self.patch)
        patches = self.conv(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), patches], dim=1)
        return tokens + self._positions_for(grid)

    def _positions_for(self, grid: Grid) -> Tensor:
        # Neither a warning nor this object's memory of it can be part of a compiled graph.
        if grid != self.grid and not torch.compiler.is_compiling() and grid not in self._warned:
            self._warned.add(grid)
            warnings.warn(
                f"positions made for {self.grid[0]}x{self.grid[1]} patches are interpolated to "
                f"{grid[0]}x{grid[1]}; input_size=(..., {grid[0] * self.patch}, "
                f"{grid[1] * self.patch}) makes the network for this size",
                Notice,
                stacklevel=2,
            )
        return resize_positions(self.positions, self.grid, grid)


class TokenHead(Head):
    """Class token, or mean of the other tokens; LayerNorm; linear layer (equation 4).

    The norm comes after the pooling. For the class token the order makes no difference; for the
    mean it is the order of timm's ``global_pool="avg"``, whereas the authors' code (their appendix
    D.3 compares the two) norms the tokens first.
    """

    pools = ("token", "avg")

    def __init__(self, dim: int, num_classes: int, dropout: float, pool: str) -> None:
        super().__init__(dim, num_classes, dropout)
        self.pool_name = pool
        self.norm = nn.LayerNorm(dim, eps=EPS)

    def embed(self, x: Tensor) -> Tensor:
        """(N, T, dim) -> (N, dim)."""
        vector: Tensor = self.norm(x[:, 0] if self.pool_name == "token" else x[:, 1:].mean(1))
        return vector

    def with_pool(self, pool: str) -> Head:
        """The same head; only what it takes of the tokens changes."""
        if pool not in self.pools:
            return super().with_pool(pool)
        self.pool_name = pool
        return self


class VisionTransformer(Backbone):
    """A backbone whose stages pass tokens on."""

    def to_map(self, x: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Tokens (N, 1 + h * w, dim) -> (N, dim, h, w), without the class token."""
        grid = patch_grid(image_size, self.stage_info[0].reduction)
        return x[:, 1:].transpose(1, 2).reshape(x.shape[0], x.shape[2], *grid)


def build(name: str, row: ViTRow, request: Request) -> Backbone:
    """Build one row of the table.

    Raises:
        VertebraError: an input size that does not divide into patches.
    """
    grid = patch_grid(request.input_size[1:], row.patch)
    rates = drop_path_rates(request.drop_path, [row.depth // STAGES] * STAGES)
    return VisionTransformer(
        name=name,
        stem=PatchTokens(request.in_chans, row.dim, row.patch, grid),
        stem_stride=row.patch,
        stages=[
            Stage(
                [
                    TransformerBlock(row.dim, row.heads, row.hidden, eps=EPS, drop_path=rate)
                    for rate in stage_rates
                ],
                row.dim,
            )
            for stage_rates in rates
        ],
        head=TokenHead(row.dim, request.num_classes, request.dropout, row.pool),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def init_rule(row: ViTRow, request: Request) -> InitRule:
    """torchvision's.

    Glorot's uniform for query, key, value (as one matrix) and the MLP, whose biases are
    N(0, 1e-6^2); N(0, 1 / fan_in) for the patches; N(0, 0.02^2) for positions; class token and
    classifier start at zero; attention's last layer has PyTorch's default. The authors' code
    differs in attention, where it takes Glorot's bound for each of query, key and value by itself,
    sqrt(2) wider, and for the last layer too, and cuts the patches' normal at two deviations.
    """

    def rule(
        path: str, module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator
    ) -> None:
        if isinstance(module, nn.LayerNorm):
            default_norm(name, parameter)
        elif name == "positions":
            nn.init.normal_(parameter, std=0.02, generator=generator)
        elif path.endswith("mlp.fc1") or path.endswith("mlp.fc2"):
            if name == "weight":
                nn.init.xavier_uniform_(parameter, generator=generator)
            else:
                nn.init.normal_(parameter, std=1e-6, generator=generator)
        elif name != "weight" or path == "head.fc":
            parameter.zero_()
        elif isinstance(module, nn.Conv2d):
            truncated_normal(parameter, parameter[0].numel() ** -0.5, generator)
        elif path.endswith("attention.proj"):
            default_linear(parameter, parameter.shape[1], generator)
        else:
            nn.init.xavier_uniform_(parameter, generator=generator)

    return rule


def resize(net: Backbone, state_dict: dict[str, Tensor]) -> list[str]:
    """Interpolate a position table made for another grid of patches, in place.

    A table does not say what its grid was: a square, as torchvision and timm assume too. One of the
    right length that cannot be a square is taken as it is.
    """
    stem, table = net.stem, state_dict.get("stem.positions")
    if not isinstance(stem, PatchTokens) or table is None:
        return []
    patches = table.shape[1] - 1
    side = math.isqrt(patches)
    if stem.grid == (side, side) or patches != side * side:
        return []
    state_dict["stem.positions"] = resize_positions(table, (side, side), stem.grid)
    return [
        f"the weights have positions for {side}x{side} patches and this network has "
        f"{stem.grid[0]}x{stem.grid[1]}: they are interpolated"
    ]


def _block(row: ViTRow) -> Callable[[Match[str]], str]:
    """Blocks are counted through in both libraries, here by stage."""
    each = row.depth // STAGES
    return lambda match: f"stages.{int(match[1]) // each}.{int(match[1]) % each}."


def from_torchvision(row: ViTRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename torchvision's state dict to ours."""
    return by_pattern(
        state_dict,
        (
            (r"^class_token$", "stem.class_token"),
            (r"^conv_proj\.", "stem.conv."),
            (r"^encoder\.pos_embedding$", "stem.positions"),
            (r"^encoder\.layers\.encoder_layer_(\d+)\.", _block(row)),
            (r"\.ln_(\d)\.", r".norm\1."),
            # nn.MultiheadAttention, whose one matrix has query, key, value in our order
            (r"\.self_attention\.in_proj_(weight|bias)$", r".attention.qkv.\1"),
            (r"\.self_attention\.out_proj\.", ".attention.proj."),
            # activation and dropout are 1 and 2 there; the published files have linear_1, linear_2
            (r"\.mlp\.(0|linear_1)\.", ".mlp.fc1."),
            (r"\.mlp\.(3|linear_2)\.", ".mlp.fc2."),
            (r"^encoder\.ln\.", "head.norm."),
            (r"^heads\.head\.", "head.fc."),
        ),
    )


def from_timm(row: ViTRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename timm's state dict to ours."""
    return by_pattern(
        state_dict,
        (
            (r"^head\.", "head.fc."),
            # called fc_norm where it follows a mean over tokens; the other name then fits nothing
            (r"^fc_norm\." if row.pool == "avg" else r"^norm\.", "head.norm."),
            (r"^cls_token$", "stem.class_token"),
            (r"^pos_embed$", "stem.positions"),
            (r"^patch_embed\.proj\.", "stem.conv."),
            (r"^blocks\.(\d+)\.", _block(row)),
            (r"\.attn\.", ".attention."),
        ),
    )


def _vit(patch: int, depth: int, dim: int, hidden: int, heads: int, timm: str) -> ViTRow:
    return ViTRow(
        patch=patch,
        depth=depth,
        dim=dim,
        hidden=hidden,
        heads=heads,
        timm=timm,
        smallest=patch,
    )


def _deit(dim: int, heads: int, timm: str) -> ViTRow:
    """A line of table 1 of arXiv:2012.12877, with the stochastic depth of its table 9."""
    row = _vit(16, 12, dim, 4 * dim, heads, timm)
    return replace(row, paper="2012.12877", drop_path=0.1)


VARIANTS: dict[str, ViTRow] = {
    #                   D  heads
    "vit_ti_16": _deit(192, 3, "vit_tiny_patch16_224"),
    "vit_s_16": _deit(384, 6, "vit_small_patch16_224"),
    #             patch layers  D    MLP  heads
    "vit_b_16": _vit(16, 12, 768, 3072, 12, "vit_base_patch16_224"),
    "vit_b_32": _vit(32, 12, 768, 3072, 12, "vit_base_patch32_224"),
    "vit_l_16": _vit(16, 24, 1024, 4096, 16, "vit_large_patch16_224"),
    "vit_l_32": _vit(32, 24, 1024, 4096, 16, "vit_large_patch32_224"),
    "vit_h_14": _vit(14, 32, 1280, 5120, 16, "vit_huge_patch14_224"),
}

FAMILY = Family(
    name="vit",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    options={
        "pool": Option(
            "token",
            "what is classified: the class token, or the mean of the others",
            TokenHead.pools,
        ),
    },
    sources={"torchvision": Source(from_torchvision), "timm": Source(from_timm)},
    specialise=lambda row, options: replace(row, pool=options["pool"]),
    resize=resize,
)
