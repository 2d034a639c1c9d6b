"""ConvNeXt: a residual network rebuilt step by step with what vision transformers brought.

Liu, Mao, Wu, Feichtenhofer, Darrell and Xie, "A ConvNet for the 2020s", 2022, arXiv:2201.03545.

The paper has tiny to xlarge. The smaller rows, atto to nano, are Ross Wightman's, published in timm
in 2022; ConvNeXt V2 (Woo et al., 2023, arXiv:2301.00808) took over their sizes. Nothing departs
from the paper; LayerScale (Touvron et al., 2021, arXiv:2103.17239), which it lists among the
settings of training and not in its figure of the block, is part of the block, as in its code.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
from vertebra.nn.init import default_norm, truncated_normal
from vertebra.zoo.family import Family, Request, Row, Source, StateDict
from vertebra.zoo.renaming import block_path, by_pattern

Four = tuple[int, int, int, int]

EPS = 1e-6
LAYER_SCALE = 1e-6


@dataclass(frozen=True, kw_only=True)
class ConvNeXtRow(Row):
    """``widths`` is the paper's C, ``depths`` its B: channels and blocks of each stage."""

    widths: Four
    depths: Four
    year: int = 2022
    paper: str = "2201.03545"
    smallest: int = 32


class Stem(nn.Module):
    """Patches of 4x4 pixels, each a vector, and a norm (section 2.2, "patchify").

    Shapes: (N, in_chans, H, W) -> (N, channels, floor(H / 4), floor(W / 4)).
    """

    def __init__(self, in_chans: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, channels, 4, stride=4)
        self.norm = LayerNorm2d(channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, channels, H', W')."""
        out: Tensor = self.norm(self.conv(x))
        return out


def make_downsample(in_chans: int, out_chans: int) -> nn.Sequential:
    """A norm and a 2x2 convolution of stride 2 between stages (section 2.6).

    Shapes: (N, in_chans, H, W) -> (N, out_chans, floor(H / 2), floor(W / 2)).
    """
    return nn.Sequential(
        OrderedDict(
            norm=LayerNorm2d(in_chans, eps=EPS),
            conv=nn.Conv2d(in_chans, out_chans, 2, stride=2),
        )
    )


class Block(nn.Module):
    """``x + scale * W2 gelu(W1 norm(depthwise(x)))``: figure 4, right.

    The 1x1 convolutions are linear layers over channels that lie last, which LayerNorm wants too;
    maps keep that layout from block to block, so no permutation here copies anything.

    Shapes: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, channels: int, drop_path: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.mlp = Mlp(channels, 4 * channels)
        self.layer_scale = nn.Parameter(torch.empty(channels, 1, 1))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        branch = self.mlp(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))
        branch = self.drop_path(branch).permute(0, 3, 1, 2)
        # The scale and the sum in one pass over the map.
        return torch.addcmul(x, self.layer_scale, branch)


def build(name: str, row: ConvNeXtRow, request: Request) -> Backbone:
    """Build one row of the table."""
    stages: list[Stage] = []
    rates = drop_path_rates(request.drop_path, row.depths)
    channels = row.widths[0]
    for width, stage_rates in zip(row.widths, rates, strict=True):
        downsample = [make_downsample(channels, width)] if stages else []
        blocks = [Block(width, rate) for rate in stage_rates]
        stages.append(Stage([*downsample, *blocks], width, stride=2 if stages else 1))
        channels = width
    return Backbone(
        name=name,
        stem=Stem(request.in_chans, row.widths[0]),
        stem_stride=4,
        stages=stages,
        head=LinearHead(
            channels,
            request.num_classes,
            request.dropout,
            after=nn.LayerNorm(channels, eps=EPS),
        ),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def init_rule(row: ConvNeXtRow, request: Request) -> InitRule:
    """N(0, 0.02^2) truncated, no biases, LayerScale 1e-6: the authors' and torchvision's."""

    def rule(
        path: str, module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator
    ) -> None:
        if name == "layer_scale":
            parameter.fill_(LAYER_SCALE)
        elif isinstance(module, nn.Conv2d | nn.Linear) and name == "weight":
            truncated_normal(parameter, 0.02, generator)
        else:
            default_norm(name, parameter)

    return rule


_TORCHVISION = (
    (r"^features\.0\.0\.", "stem.conv."),
    (r"^features\.0\.1\.", "stem.norm."),
    # stages stand at odd places there, the downsampling at the even places between
    (r"^features\.([1357])\.(\d+)\.", lambda match: block_path(int(match[1]) // 2, int(match[2]))),
    (r"^features\.([246])\.0\.", lambda match: f"stages.{int(match[1]) // 2}.0.norm."),
    (r"^features\.([246])\.1\.", lambda match: f"stages.{int(match[1]) // 2}.0.conv."),
    # a block is a Sequential there, in which permutations and GELU have numbers too
    (r"\.block\.0\.", ".depthwise."),
    (r"\.block\.2\.", ".norm."),
    (r"\.block\.3\.", ".mlp.fc1."),
    (r"\.block\.5\.", ".mlp.fc2."),
    (r"^classifier\.0\.", "head.after."),
    (r"^classifier\.2\.", "head.fc."),
)

_TIMM = (
    (r"^stem\.0\.", "stem.conv."),
    (r"^stem\.1\.", "stem.norm."),
    (r"\.downsample\.0\.", ".0.norm."),
    (r"\.downsample\.1\.", ".0.conv."),
    (r"^stages\.(\d+)\.blocks\.(\d+)\.", lambda match: block_path(int(match[1]), int(match[2]))),
    (r"\.conv_dw\.", ".depthwise."),
    (r"\.gamma$", ".layer_scale"),
    (r"^head\.norm\.", "head.after."),
)


def from_torchvision(row: ConvNeXtRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename torchvision's state dict to ours."""
    return by_pattern(state_dict, _TORCHVISION)


def from_timm(row: ConvNeXtRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename timm's state dict to ours.

    timm keeps LayerScale as a vector and, in its own small rows, the linear layers as 1x1
    convolutions.
    """
    renamed = by_pattern(state_dict, _TIMM)
    for name, tensor in renamed.items():
        if name.endswith(".layer_scale"):
            renamed[name] = tensor.reshape(-1, 1, 1)
        elif ".mlp." in name and tensor.ndim == 4:
            renamed[name] = tensor.flatten(1)
    return renamed


def _row(widths: Four, depths: Four, drop_path: float = 0.0) -> ConvNeXtRow:
    return ConvNeXtRow(widths=widths, depths=depths, drop_path=drop_path)


VARIANTS: dict[str, ConvNeXtRow] = {
    # timm's, which builds them without drop-path
    "convnext_atto": _row((40, 80, 160, 320), (2, 2, 6, 2)),
    "convnext_femto": _row((48, 96, 192, 384), (2, 2, 6, 2)),
    "convnext_pico": _row((64, 128, 256, 512), (2, 2, 6, 2)),
    "convnext_nano": _row((80, 160, 320, 640), (2, 2, 8, 2)),
    # section 3; xlarge was trained on ImageNet-22K, its rate is that of fine-tuning for ImageNet-1K
    "convnext_tiny": _row((96, 192, 384, 768), (3, 3, 9, 3), 0.1),
    "convnext_small": _row((96, 192, 384, 768), (3, 3, 27, 3), 0.4),
    "convnext_base": _row((128, 256, 512, 1024), (3, 3, 27, 3), 0.5),
    "convnext_large": _row((192, 384, 768, 1536), (3, 3, 27, 3), 0.5),
    "convnext_xlarge": _row((256, 512, 1024, 2048), (3, 3, 27, 3), 0.4),
}

FAMILY = Family(
    name="convnext",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    sources={"torchvision": Source(from_torchvision), "timm": Source(from_timm)},
)
