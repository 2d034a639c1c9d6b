"""MobileViT: transformers as convolutions, between the inverted residuals of a MobileNet.

Mehta and Rastegari, "MobileViT: Light-weight, General-purpose, and Mobile-friendly Vision
Transformer", 2021, arXiv:2110.02178. S has 5.6 million parameters, XS 2.3, XXS 1.3.

Two things stand in the authors' code (github.com/apple/ml-cvnets) and not in figure 1b: a LayerNorm
follows a block's last transformer layer, and a map that does not divide into patches is
interpolated to one that does, and back. What they have and this net, like timm's, has not: dropout
within the transformers (0.1, or 0.05 for XXS). Stages are grouped by resolution; the last 1x1
convolution belongs to the head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.nn import (
    Backbone,
    ConvNormAct,
    InitRule,
    InvertedResidual,
    LinearHead,
    NormAct,
    Stage,
    TransformerBlock,
    drop_path_rates,
)
from vertebra.nn.init import he_rule, normal
from vertebra.zoo.family import Family, Request, Row, Source, StateDict
from vertebra.zoo.renaming import by_pattern

ACT = nn.SiLU
UNIT = NormAct(ACT)
STEM = 16
PATCH, HEADS = 2, 4
EPS = 1e-5  # of LayerNorm; vision transformers have 1e-6


@dataclass(frozen=True)
class Group:
    """What the columns of table 4 share at one resolution.

    ``residuals`` inverted residuals, the first with ``stride``; then, where ``layers`` is not 0, a
    MobileViT block with as many transformer layers (L of figure 1b).
    """

    stride: int
    residuals: int
    layers: int = 0

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return self.residuals + (self.layers > 0)


TABLE_4 = (
    Group(stride=1, residuals=1),
    Group(stride=2, residuals=3),
    Group(stride=2, residuals=1, layers=2),
    Group(stride=2, residuals=1, layers=4),
    Group(stride=2, residuals=1, layers=3),
)


@dataclass(frozen=True, kw_only=True)
class MobileViTRow(Row):
    """One column of the paper's table 4.

    ``expand`` is the widening of inverted residuals, ``channels`` those of the groups, ``dims`` the
    width d of their transformers, 0 where there is none. The authors' code drops 0.1 of the pooled
    vector in training.
    """

    year: int = 2021
    paper: str = "2110.02178"
    input_size: tuple[int, int, int] = (3, 256, 256)
    dropout: float = 0.1
    expand: int
    channels: tuple[int, ...]
    dims: tuple[int, ...]


def unfold(x: Tensor, patch: int) -> Tensor:
    """Put every pixel with those at its own place in the other patches, a sequence for each place.

    Shapes: (N, C, h * patch, w * patch) -> (N * patch^2, h * w, C).
    """
    count, channels, height, width = x.shape
    h, w = height // patch, width // patch
    x = x.reshape(count, channels, h, patch, w, patch).permute(0, 3, 5, 2, 4, 1)
    return x.reshape(count * patch * patch, h * w, channels)


def fold(tokens: Tensor, patch: int, size: tuple[int, int]) -> Tensor:
    """Undo :func:`unfold` for a map of ``size``.

    Shapes: (N * patch^2, h * w, C) -> (N, C, h * patch, w * patch).
    """
    h, w = size[0] // patch, size[1] // patch
    channels = tokens.shape[2]
    x = tokens.reshape(-1, patch, patch, h, w, channels).permute(0, 5, 3, 1, 4, 2)
    return x.reshape(-1, channels, h * patch, w * patch)


class MobileViTBlock(nn.Module):
    """Local, then global, then both together (figure 1b, section 3.1).

    A 3x3 convolution sees the neighbourhood. Transformer layers let each place within a patch
    attend to the same place in all patches; since the convolution has mixed the places, every pixel
    then knows of every other. A last 3x3 convolution takes this beside the block's input.

    Shapes: (N, channels, H, W) -> (N, channels, H, W).
    """

    def __init__(self, channels: int, dim: int, layers: int, drop_path: float) -> None:
        super().__init__()
        self.local = ConvNormAct(channels, channels, 3, act=ACT)
        self.lift = nn.Conv2d(channels, dim, 1, bias=False)
        self.transformer = nn.Sequential(
            *(
                TransformerBlock(dim, HEADS, 2 * dim, eps=EPS, act=ACT, drop_path=drop_path)
                for _ in range(layers)
            )
        )
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.project = ConvNormAct(dim, channels, 1, act=ACT)
        self.fuse = ConvNormAct(2 * channels, channels, 3, act=ACT)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, channels, H, W)."""
        size = (x.shape[2], x.shape[3])
        whole = (-(-size[0] // PATCH) * PATCH, -(-size[1] // PATCH) * PATCH)
        tokens = unfold(interpolated(self.lift(self.local(x)), whole), PATCH)
        tokens = self.norm(self.transformer(tokens))
        world = interpolated(fold(tokens, PATCH, whole), size)
        out: Tensor = self.fuse(torch.cat([x, self.project(world)], dim=1))
        return out


def interpolated(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The map at another size, bilinearly; itself where it has that size.

    Shapes: (N, C, H, W) -> (N, C, *size).
    """
    if (x.shape[2], x.shape[3]) == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def plan(row: MobileViTRow) -> list[list[tuple[int, int, int]]]:
    """(channels in, channels out, stride) of the inverted residuals of each group."""
    groups: list[list[tuple[int, int, int]]] = []
    in_chans = STEM
    for group, out_chans in zip(TABLE_4, row.channels, strict=True):
        same = [(out_chans, out_chans, 1)] * (group.residuals - 1)
        groups.append([(in_chans, out_chans, group.stride), *same])
        in_chans = out_chans
    return groups


def build(name: str, row: MobileViTRow, request: Request) -> Backbone:
    """Build one row of the table."""
    stem = ConvNormAct(request.in_chans, STEM, 3, stride=2, act=ACT)
    rates = drop_path_rates(request.drop_path, [group.blocks for group in TABLE_4])
    stages: list[Stage] = []
    for group, residuals, dim, group_rates in zip(TABLE_4, plan(row), row.dims, rates, strict=True):
        blocks: list[nn.Module] = []
        for (chans, out_chans, stride), rate in zip(residuals, group_rates, strict=False):
            expanded = chans * row.expand
            blocks.append(
                InvertedResidual(chans, expanded, out_chans, 3, stride, UNIT, drop_path=rate)
            )
        channels = residuals[-1][1]
        if group.layers:
            blocks.append(MobileViTBlock(channels, dim, group.layers, drop_path=group_rates[-1]))
        stages.append(Stage(blocks, channels, group.stride))
    last = 4 * channels
    return Backbone(
        name=name,
        stem=stem,
        stem_stride=2,
        stages=stages,
        head=LinearHead(
            last,
            request.num_classes,
            request.dropout,
            before=ConvNormAct(channels, last, 1, act=ACT),
        ),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def _last_norms(row: MobileViTRow) -> set[str]:
    """Paths of the norms before each sum of an inverted residual with its input."""
    return {
        f"stages.{stage}.{place}.project.norm"
        for stage, residuals in enumerate(plan(row))
        for place, (in_chans, out_chans, stride) in enumerate(residuals)
        if in_chans == out_chans and stride == 1
    }


def init_rule(row: MobileViTRow, request: Request) -> InitRule:
    """timm's: He's N(0, 2 / fan_out) by group, N(0, 0.01^2) for linear layers.

    The scale of the last norm in each residual branch of convolutions starts at zero (Goyal et al.,
    2017, arXiv:1706.02677, section 5.1). The authors' code has N(0, 0.02^2) for linear layers and
    no scale of zero.
    """
    usual, zero = he_rule(normal(0.01), by_group=True), _last_norms(row)

    def rule(
        path: str, module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator
    ) -> None:
        if path in zero:
            parameter.zero_()
        else:
            usual(path, module, name, parameter, generator)

    return rule


_NAMES = (
    (r"\.bn\.", ".norm."),
    # an inverted residual is a "bottle" of three there
    (r"\.conv1_1x1\.", ".expand."),
    (r"\.conv2_kxk\.", ".depthwise."),
    (r"\.conv3_1x1\.", ".project."),
    # and this is their MobileViT block
    (r"\.conv_kxk\.", ".local."),
    (r"\.conv_1x1\.", ".lift."),
    (r"\.attn\.", ".attention."),
    (r"\.conv_proj\.", ".project."),
    (r"\.conv_fusion\.", ".fuse."),
    (r"^final_conv\.", "head.before."),
)


def from_timm(row: MobileViTRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename timm's state dict to ours: the same tree, other names."""
    return by_pattern(state_dict, _NAMES)


VARIANTS: dict[str, MobileViTRow] = {
    "mobilevit_xxs": MobileViTRow(expand=2, channels=(16, 24, 48, 64, 80), dims=(0, 0, 64, 80, 96)),
    "mobilevit_xs": MobileViTRow(
        expand=4, channels=(32, 48, 64, 80, 96), dims=(0, 0, 96, 120, 144)
    ),
    "mobilevit_s": MobileViTRow(
        expand=4, channels=(32, 64, 96, 128, 160), dims=(0, 0, 144, 192, 240)
    ),
}

FAMILY = Family(
    name="mobilevit",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    sources={"timm": Source(from_timm)},
)
