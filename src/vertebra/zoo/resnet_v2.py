"""Residual networks with the norm and the activation before each convolution (ResNet v2).

He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", 2016, arXiv:1603.05027.

Two departures, both as in timm's ``resnetv2_50`` and its siblings. Bottlenecks stride in their 3x3
convolution; the authors' own code strides in the first 1x1. And the stem is a convolution and a
pooling only: the norm and ReLU that the paper's appendix puts right behind the first convolution
stand behind the pooling, as those of the first block. The norm and ReLU behind the last sum, which
the appendix adds, belong to the head. (timm's ``resnetv2_50x1_bit`` is another network, with group
norm and standardised weights.)
"""

from dataclasses import dataclass

from torch import Tensor, nn

from vertebra.nn import (
    Backbone,
    DropPath,
    InitRule,
    LinearHead,
    Stage,
    drop_path_rates,
)
from vertebra.nn.init import he_rule, normal
from vertebra.zoo.family import Family, Request, Row, Source, StateDict
from vertebra.zoo.renaming import by_pattern

STEM = 64
WIDTHS = (64, 128, 256, 512)  # of the 3x3 convolutions; a stage's map has four times as many
EXPANSION = 4


@dataclass(frozen=True, kw_only=True)
class ResNetV2Row(Row):
    """``depths`` are the blocks of each stage, as in table 1 of arXiv:1512.03385."""

    year: int = 2016
    paper: str = "1603.05027"
    depths: tuple[int, ...]


class PreActBottleneck(nn.Module):
    """``x + branch(norm, ReLU, conv three times)``, figure 4(e): nothing behind the sum.

    So what a block passes on is the identity plus corrections (equation 4). Where the shape changes
    the shortcut is a 1x1 convolution of the normed and activated input, which the branch shares.

    Shapes: (N, C, H, W) -> (N, out_chans, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self, in_chans: int, inner: int, out_chans: int, stride: int, drop_path: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_chans)
        self.conv1 = nn.Conv2d(in_chans, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out_chans, 1, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.shortcut: nn.Module | None = None
        if stride > 1 or in_chans != out_chans:
            self.shortcut = nn.Conv2d(in_chans, out_chans, 1, stride, bias=False)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_chans, H', W')."""
        activated = self.act(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        out: Tensor = self.conv2(self.act(self.norm2(self.conv1(activated))))
        out = self.drop_path(self.conv3(self.act(self.norm3(out))))
        out += shortcut
        return out


def build(name: str, row: ResNetV2Row, request: Request) -> Backbone:
    """Build one row of the table."""
    stem = nn.Sequential(
        nn.Conv2d(request.in_chans, STEM, 7, stride=2, padding=3, bias=False),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    rates = drop_path_rates(request.drop_path, row.depths)
    channels = STEM
    stages: list[Stage] = []
    for width, (first, *others) in zip(WIDTHS, rates, strict=True):
        stride, out_chans = 2 if stages else 1, EXPANSION * width
        blocks = [PreActBottleneck(channels, width, out_chans, stride, first)]
        blocks += [PreActBottleneck(out_chans, width, out_chans, 1, rate) for rate in others]
        stages.append(Stage(blocks, out_chans, stride))
        channels = out_chans
    return Backbone(
        name=name,
        stem=stem,
        stem_stride=4,
        stages=stages,
        head=LinearHead(
            channels,
            request.num_classes,
            request.dropout,
            before=nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True)),
        ),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def init_rule(row: ResNetV2Row, request: Request) -> InitRule:
    """He initialisation by fan-out and N(0, 0.01^2) for the classifier, as timm has it."""
    return he_rule(normal(0.01))


_NAMES = (
    (r"^stem\.conv\.", "stem.0."),
    # a stage holds its blocks in a module of their own there
    (r"^(stages\.\d+)\.blocks\.", r"\1."),
    (r"\.downsample\.conv\.", ".shortcut."),
    (r"^norm\.", "head.before.0."),
)


def from_timm(row: ResNetV2Row, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename timm's state dict to ours; its classifier is a 1x1 convolution of one pixel."""
    renamed = by_pattern(state_dict, _NAMES)
    if "head.fc.weight" in renamed:
        renamed["head.fc.weight"] = renamed["head.fc.weight"].flatten(1)
    return renamed


VARIANTS: dict[str, ResNetV2Row] = {
    "resnet50_v2": ResNetV2Row(depths=(3, 4, 6, 3), timm="resnetv2_50"),
    "resnet101_v2": ResNetV2Row(depths=(3, 4, 23, 3), timm="resnetv2_101"),
    # of these three, the one in the paper's table 5
    "resnet152_v2": ResNetV2Row(depths=(3, 8, 36, 3), timm="resnetv2_152"),
}

FAMILY = Family(
    name="resnet_v2",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    sources={"timm": Source(from_timm)},
)
