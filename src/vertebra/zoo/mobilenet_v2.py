"""MobileNetV2: inverted residuals and linear bottlenecks.

Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
2018, arXiv:1801.04381.

The paper's first bottleneck has expansion factor 1: in all implementations, and here, it has no
widening convolution at all, only the depthwise and the linear one. Stages are grouped by
resolution, so the table's two lines at 1/16 and two at 1/32 are one stage each; the last 1x1
convolution belongs to the head.
"""

from dataclasses import dataclass, replace

from torch import Tensor, nn

from vertebra.nn import Backbone, InitRule, LinearHead, NormAct, round_channels
from vertebra.nn.init import he_rule, normal
from vertebra.zoo.family import Family, Request, Row, Source, StateDict
from vertebra.zoo.inverted_residuals import (
    Block,
    Line,
    blocks_of,
    build_stages,
    timm_names,
    torchvision_names,
    unit_names,
)
from vertebra.zoo.renaming import by_prefix

# Table 2: the first and the last convolution, and the bottlenecks between them.
STEM, LAST = 32, 1280
BOTTLENECKS = (
    #  t   c  n  s
    Line(1, 16, 1, 1),
    Line(6, 24, 2, 2),
    Line(6, 32, 3, 2),
    Line(6, 64, 4, 2),
    Line(6, 96, 3, 1),
    Line(6, 160, 3, 2),
    Line(6, 320, 1, 1),
)
UNIT = NormAct(nn.ReLU6)


@dataclass(frozen=True, kw_only=True)
class MobileNetV2Row(Row):
    """``width`` multiplies every number of channels; the last layer never has fewer than 1 280."""

    width: float = 1.0
    year: int = 2018
    paper: str = "1801.04381"
    dropout: float = 0.2


def plan(row: MobileNetV2Row) -> list[Block]:
    """The bottlenecks of table 2 at the row's width."""
    lines = [
        replace(line, channels=round_channels(line.channels * row.width)) for line in BOTTLENECKS
    ]
    return blocks_of(lines, round_channels(STEM * row.width), UNIT)


def build(name: str, row: MobileNetV2Row, request: Request) -> Backbone:
    """Build one row of the table."""
    blocks = plan(row)
    last = round_channels(LAST * max(1.0, row.width))
    return Backbone(
        name=name,
        stem=UNIT.conv(request.in_chans, blocks[0].in_chans, 3, stride=2),
        stem_stride=2,
        stages=build_stages(blocks, request.drop_path),
        head=LinearHead(
            last,
            request.num_classes,
            request.dropout,
            before=UNIT.conv(blocks[-1].out_chans, last, 1),
        ),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def init_rule(row: MobileNetV2Row, request: Request) -> InitRule:
    """He initialisation by fan-out and N(0, 0.01^2) for the classifier, as torchvision has it."""
    return he_rule(normal(0.01))


def from_torchvision(row: MobileNetV2Row, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename torchvision's state dict to ours: stem, blocks and last layer are one list there."""
    blocks = plan(row)
    names = {
        **unit_names("features.0", "stem"),
        **torchvision_names(blocks, "features.{index}.conv", unit_of_projection=False),
        **unit_names(f"features.{len(blocks) + 1}", "head.before"),
        "classifier.1": "head.fc",  # 0 is the dropout
    }
    return by_prefix(state_dict, names)


def from_timm(row: MobileNetV2Row, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename timm's state dict to ours."""
    return by_prefix(state_dict, timm_names(plan(row)))


VARIANTS: dict[str, MobileNetV2Row] = {
    "mobilenet_v2": MobileNetV2Row(timm="mobilenetv2_100"),
    "mobilenet_v2_050": MobileNetV2Row(width=0.5, timm="mobilenetv2_050"),
    "mobilenet_v2_140": MobileNetV2Row(width=1.4, timm="mobilenetv2_140"),
}

FAMILY = Family(
    name="mobilenet_v2",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    sources={"torchvision": Source(from_torchvision), "timm": Source(from_timm)},
)
