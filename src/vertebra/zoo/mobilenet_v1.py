"""MobileNet: depthwise separable convolutions.

Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto and Adam, "MobileNets: Efficient
Convolutional Neural Networks for Mobile Vision Applications", 2017, arXiv:1704.04861.

Departures from the paper: ReLU6 for ReLU, as the authors' own code and timm have it. The last
depthwise convolution has stride 1, not the 2 that table 1 prints: the sizes in that table only fit
with 1, and no implementation does otherwise.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from vertebra.nn import (
    Backbone,
    InitRule,
    LinearHead,
    NormAct,
    Stage,
    round_channels,
)
from vertebra.nn.init import he_rule, uniform_by_rows
from vertebra.zoo.family import Family, Request, Row, Source, StateDict
from vertebra.zoo.renaming import by_pattern

UNIT = NormAct(nn.ReLU6)
STEM = 32
# Table 1 below its first line, a stage each: channels, pairs of convolutions, stride of the first.
TABLE_1 = (
    (64, 1, 1),
    (128, 2, 2),
    (256, 2, 2),
    (512, 6, 2),
    (1024, 2, 2),
)


@dataclass(frozen=True, kw_only=True)
class MobileNetV1Row(Row):
    """``width`` is the paper's multiplier alpha (section 3.3), for every number of channels."""

    width: float = 1.0
    year: int = 2017
    paper: str = "1704.04861"


class SeparableConv(nn.Module):
    """A 3x3 filter for each channel, then a 1x1 convolution over channels; norm and act after both.

    Figure 3, right, and section 3.1. There is no shortcut.

    Shapes: (N, in_chans, H, W) -> (N, out_chans, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_chans: int, out_chans: int, stride: int) -> None:
        super().__init__()
        self.depthwise = UNIT.conv(in_chans, in_chans, 3, stride, groups=in_chans)
        self.pointwise = UNIT.conv(in_chans, out_chans, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, out_chans, H', W')."""
        out: Tensor = self.pointwise(self.depthwise(x))
        return out


def build(name: str, row: MobileNetV1Row, request: Request) -> Backbone:
    """Build one row of the table.

    Raises:
        VertebraError: drop-path was asked for, which needs residual branches.
    """
    request.refuse_drop_path(name)
    channels = round_channels(STEM * row.width)
    stem = UNIT.conv(request.in_chans, channels, 3, stride=2)
    stages: list[Stage] = []
    for base, depth, stride in TABLE_1:
        width = round_channels(base * row.width)
        first = SeparableConv(channels, width, stride)
        others = (SeparableConv(width, width, 1) for _ in range(depth - 1))
        stages.append(Stage([first, *others], width, stride))
        channels = width
    return Backbone(
        name=name,
        stem=stem,
        stem_stride=2,
        stages=stages,
        head=LinearHead(channels, request.num_classes, request.dropout),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def init_rule(row: MobileNetV1Row, request: Request) -> InitRule:
    """He initialisation by fan-out and U(-1/sqrt(n), 1/sqrt(n)) for n classes, as timm has it.

    The fan-out is that of one group, so that a depthwise 3x3 counts 9.
    """
    return he_rule(uniform_by_rows, by_group=True)


# timm's groups are our stages.
_NAMES = (
    (r"^conv_stem\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"^blocks\.(\d+)\.(\d+)\.", r"stages.\1.\2."),
    (r"\.conv_dw\.", ".depthwise.conv."),
    (r"\.bn1\.", ".depthwise.norm."),
    (r"\.conv_pw\.", ".pointwise.conv."),
    (r"\.bn2\.", ".pointwise.norm."),
    (r"^classifier\.", "head.fc."),
)


def from_timm(row: MobileNetV1Row, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename timm's state dict to ours."""
    return by_pattern(state_dict, _NAMES)


# Tables 6 and 7.
VARIANTS: dict[str, MobileNetV1Row] = {
    "mobilenet_v1": MobileNetV1Row(timm="mobilenetv1_100"),
    "mobilenet_v1_075": MobileNetV1Row(width=0.75),
    "mobilenet_v1_050": MobileNetV1Row(width=0.5),
}

FAMILY = Family(
    name="mobilenet_v1",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    sources={"timm": Source(from_timm)},
)
