"""MobileNetV3: inverted residuals found by search, with squeeze-and-excitation and hard swish.

Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le and Adam, "Searching for
MobileNetV3", 2019, arXiv:1905.02244.

Departures from the paper: table 2 ticks squeeze-and-excitation for the small network's last 1x1
convolution too, which neither the authors' code nor torchvision nor timm has; the width inside
squeeze-and-excitation is a quarter of the expansion (section 5.3) rounded to a multiple of 8.
Batch norm has torchvision's eps 1e-3 and momentum 0.01, the paper's decay of 0.99; weights from
timm come with 1e-5 and 0.1. The small network has no stage at 1/2, since its first block strides.
"""

from dataclasses import dataclass
from functools import partial
from itertools import groupby

from torch import Tensor, nn

from vertebra.nn import (
    Backbone,
    InitRule,
    LinearHead,
    NormAct,
    SqueezeExcite,
    make_act,
    round_channels,
)
from vertebra.nn.init import he_rule, normal
from vertebra.zoo.family import Family, Request, Row, Source, StateDict
from vertebra.zoo.inverted_residuals import (
    Block,
    build_stages,
    timm_names,
    torchvision_names,
    unit_names,
)
from vertebra.zoo.renaming import by_prefix

STEM = 16
RE = NormAct(nn.ReLU, eps=1e-3, momentum=0.01)
HS = NormAct(nn.Hardswish, eps=1e-3, momentum=0.01)


@dataclass(frozen=True)
class Bneck:
    """One line of table 1 or 2, in the order of its columns."""

    kernel: int
    expanded: int
    channels: int
    squeeze: bool
    unit: NormAct
    stride: int


TABLE_1 = (
    #     k  exp  out   SE   NL s
    Bneck(3, 16, 16, False, RE, 1),
    Bneck(3, 64, 24, False, RE, 2),
    Bneck(3, 72, 24, False, RE, 1),
    Bneck(5, 72, 40, True, RE, 2),
    Bneck(5, 120, 40, True, RE, 1),
    Bneck(5, 120, 40, True, RE, 1),
    Bneck(3, 240, 80, False, HS, 2),
    Bneck(3, 200, 80, False, HS, 1),
    Bneck(3, 184, 80, False, HS, 1),
    Bneck(3, 184, 80, False, HS, 1),
    Bneck(3, 480, 112, True, HS, 1),
    Bneck(3, 672, 112, True, HS, 1),
    Bneck(5, 672, 160, True, HS, 2),
    Bneck(5, 960, 160, True, HS, 1),
    Bneck(5, 960, 160, True, HS, 1),
)
TABLE_2 = (
    Bneck(3, 16, 16, True, RE, 2),
    Bneck(3, 72, 24, False, RE, 2),
    Bneck(3, 88, 24, False, RE, 1),
    Bneck(5, 96, 40, True, HS, 2),
    Bneck(5, 240, 40, True, HS, 1),
    Bneck(5, 240, 40, True, HS, 1),
    Bneck(5, 120, 48, True, HS, 1),
    Bneck(5, 144, 48, True, HS, 1),
    Bneck(5, 288, 96, True, HS, 2),
    Bneck(5, 576, 96, True, HS, 1),
    Bneck(5, 576, 96, True, HS, 1),
)


@dataclass(frozen=True, kw_only=True)
class MobileNetV3Row(Row):
    """The bottlenecks of one table and the two layers below them.

    ``last`` is the width of the map that is pooled, ``hidden`` that of the layer behind the pool.
    """

    bnecks: tuple[Bneck, ...]
    last: int
    hidden: int
    year: int = 2019
    paper: str = "1905.02244"
    dropout: float = 0.2


def plan(row: MobileNetV3Row) -> list[Block]:
    """The table's bottlenecks; those with as many output channels are one group, as in timm."""
    blocks: list[Block] = []
    in_chans = STEM
    for group, (_, lines) in enumerate(groupby(row.bnecks, lambda line: line.channels)):
        for place, line in enumerate(lines):
            block = Block(
                group=group,
                place=place,
                in_chans=in_chans,
                expanded=line.expanded,
                out_chans=line.channels,
                kernel=line.kernel,
                stride=line.stride,
                unit=line.unit,
                squeezed=round_channels(line.expanded / 4) if line.squeeze else 0,
            )
            blocks.append(block)
            in_chans = block.out_chans
    return blocks


def build(name: str, row: MobileNetV3Row, request: Request) -> Backbone:
    """Build one row of the table; the head is the redesigned last stage of section 5.1."""
    blocks = plan(row)
    return Backbone(
        name=name,
        stem=HS.conv(request.in_chans, STEM, 3, stride=2),
        stem_stride=2,
        stages=build_stages(
            blocks, request.drop_path, squeeze=partial(SqueezeExcite, gate=nn.Hardsigmoid)
        ),
        head=LinearHead(
            row.hidden,
            request.num_classes,
            request.dropout,
            before=HS.conv(blocks[-1].out_chans, row.last, 1),
            after=nn.Sequential(nn.Linear(row.last, row.hidden), make_act(nn.Hardswish)),
        ),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def init_rule(row: MobileNetV3Row, request: Request) -> InitRule:
    """He initialisation by fan-out and N(0, 0.01^2) for linear layers, as torchvision has it."""
    return he_rule(normal(0.01))


def from_torchvision(row: MobileNetV3Row, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename torchvision's state dict to ours: stem, blocks and last convolution are one list."""
    blocks = plan(row)
    names = {
        **unit_names("features.0", "stem"),
        **torchvision_names(blocks, "features.{index}.block"),
        **unit_names(f"features.{len(blocks) + 1}", "head.before"),
        "classifier.0": "head.after.0",
        "classifier.3": "head.fc",  # 1 and 2 are activation and dropout
    }
    return by_prefix(state_dict, names)


def from_timm(row: MobileNetV3Row, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename timm's state dict to ours; the layer behind the pooling is a 1x1 convolution there."""
    blocks = plan(row)
    last = f"blocks.{blocks[-1].group + 1}.0"  # a group of its own
    names = {
        **timm_names(blocks),
        f"{last}.conv": "head.before.conv",
        f"{last}.bn1": "head.before.norm",
        "conv_head": "head.after.0",
    }
    return {
        name: tensor.flatten(1) if name == "head.after.0.weight" else tensor
        for name, tensor in by_prefix(state_dict, names).items()
    }


VARIANTS: dict[str, MobileNetV3Row] = {
    "mobilenet_v3_large": MobileNetV3Row(
        bnecks=TABLE_1, last=960, hidden=1280, timm="mobilenetv3_large_100"
    ),
    "mobilenet_v3_small": MobileNetV3Row(
        bnecks=TABLE_2, last=576, hidden=1024, timm="mobilenetv3_small_100"
    ),
}

FAMILY = Family(
    name="mobilenet_v3",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    sources={
        "torchvision": Source(from_torchvision, norm=lambda row: (HS.eps, HS.momentum)),
        "timm": Source(from_timm, norm=lambda row: (1e-5, 0.1)),
    },
)
