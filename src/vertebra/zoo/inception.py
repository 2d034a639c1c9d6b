"""Inception v3: factorised convolutions.

Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception Architecture for Computer
Vision", 2015, arXiv:1512.00567.

This is the network that the authors released in TensorFlow, which torchvision and timm follow and
everybody calls Inception v3. It departs from table 1 of the paper: a 1x1 and a 3x3 convolution and
a pooling stand for the three 3x3 convolutions behind the first pooling; the modules of figure 5
keep a 5x5 convolution in one branch; the first of five modules at 17x17 is a reduction (figure 10).
As in torchvision and unlike in TensorFlow, average poolings count the zeros of their padding.

Two convolutions of the stem, one of the first stage, the max-poolings and the reductions are
unpadded, so maps are smaller than input size / reduction by the borders that they lose: 299 pixels
give 147 behind the stem and stages of 71, 35, 17 and 8. The smallest image is 75x75, with the
auxiliary head in training 299x299.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from vertebra.core import VertebraError
from vertebra.nn import Auxiliary, Backbone, ConvNormAct, Head, InitRule, LinearHead, Stage
from vertebra.nn.init import truncated_rule
from vertebra.zoo.family import Family, Option, Request, Row, Source, StateDict
from vertebra.zoo.renaming import by_pattern

Kernel = int | tuple[int, int]
# Not in the paper; the authors' own training code has it (research/inception of tensorflow/models).
AUX_WEIGHT = 0.4
# Every convolution is followed by batch norm with this eps and by ReLU.
unit = partial(ConvNormAct, eps=1e-3)


@dataclass(frozen=True, kw_only=True)
class InceptionRow(Row):
    """``dropout`` is torchvision's; the authors kept 0.8 of the units, that is 0.2."""

    year: int = 2015
    paper: str = "1512.00567"
    input_size: tuple[int, int, int] = (3, 299, 299)
    dropout: float = 0.5
    smallest: int = 75


def halve_pool() -> nn.MaxPool2d:
    """An unpadded 3x3 max-pooling of stride 2: n -> (n - 1) // 2 pixels."""
    return nn.MaxPool2d(3, stride=2)


def chain(in_chans: int, *layers: tuple[int, Kernel], then_halve: int = 0) -> nn.Sequential:
    """Units of (out_chans, kernel) in a row; ``then_halve`` is the width of a last one, 3x3/2."""
    units = []
    for out_chans, kernel in layers:
        units.append(unit(in_chans, out_chans, kernel))
        in_chans = out_chans
    if then_halve:
        units.append(unit(in_chans, then_halve, 3, stride=2, padding=0))
    return nn.Sequential(*units)


def pool_branch(in_chans: int, out_chans: int) -> nn.Sequential:
    """Average pooling that keeps the size, and a 1x1 convolution."""
    return nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), unit(in_chans, out_chans, 1))


class Inception(nn.ModuleDict):
    """Branches side by side on the same map, joined along the channels.

    Shapes: (N, C, H, W) -> (N, C', H', W') with C' the sum over the branches.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        return torch.cat([branch(x) for branch in self.values()], 1)


def double_3x3(in_chans: int, pooled: int) -> Inception:
    """Figure 5: two 3x3 convolutions for a 5x5 (section 3.1); one branch still has the 5x5.

    Shapes: (N, in_chans, H, W) -> (N, 224 + pooled, H, W).
    """
    branches = {
        "conv1": chain(in_chans, (64, 1)),
        "conv5": chain(in_chans, (48, 1), (64, 5)),
        "double3": chain(in_chans, (64, 1), (96, 3), (96, 3)),
        "pool": pool_branch(in_chans, pooled),
    }
    return Inception(branches)


def split_7x7(in_chans: int, width: int) -> Inception:
    """Figure 6: each 7x7 convolution as a 1x7 and a 7x1 (section 3.2, n = 7).

    Shapes: (N, in_chans, H, W) -> (N, 768, H, W).
    """
    row, column = (width, (1, 7)), (width, (7, 1))
    branches = {
        "conv1": chain(in_chans, (192, 1)),
        "conv7": chain(in_chans, (width, 1), row, (192, (7, 1))),
        "double7": chain(in_chans, (width, 1), column, row, column, (192, (1, 7))),
        "pool": pool_branch(in_chans, 192),
    }
    return Inception(branches)


class Spread(nn.Module):
    """Figure 7: filter banks made wider by ending in a 1x3 and a 3x1 side by side.

    Shapes: (N, in_chans, H, W) -> (N, 2048, H, W).
    """

    def __init__(self, in_chans: int) -> None:
        super().__init__()
        self.conv1 = chain(in_chans, (320, 1))
        self.conv3 = chain(in_chans, (384, 1))
        self.conv3_row, self.conv3_column = unit(384, 384, (1, 3)), unit(384, 384, (3, 1))
        self.double3 = chain(in_chans, (448, 1), (384, 3))
        self.double3_row, self.double3_column = unit(384, 384, (1, 3)), unit(384, 384, (3, 1))
        self.pool = pool_branch(in_chans, 192)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, 2048, H, W)."""
        conv3, double3 = self.conv3(x), self.double3(x)
        spread3 = self.conv3_row(conv3), self.conv3_column(conv3)
        spread33 = self.double3_row(double3), self.double3_column(double3)
        return torch.cat([self.conv1(x), *spread3, *spread33, self.pool(x)], 1)


def first_reduction(in_chans: int) -> Inception:
    """Figure 10: convolutions of stride 2 beside a pooling, so that nothing is a bottleneck.

    Shapes: (N, in_chans, H, W) -> (N, 480 + in_chans, (H - 1) // 2, (W - 1) // 2).
    """
    branches = {
        "conv3": chain(in_chans, then_halve=384),
        "double3": chain(in_chans, (64, 1), (96, 3), then_halve=96),
        "pool": halve_pool(),
    }
    return Inception(branches)


def second_reduction(in_chans: int) -> Inception:
    """Figure 10 again, with a 1x1 before one 3x3 and figure 6's split 7x7 before the other.

    Shapes: (N, in_chans, H, W) -> (N, 512 + in_chans, (H - 1) // 2, (W - 1) // 2).
    """
    branches = {
        "conv3": chain(in_chans, (192, 1), then_halve=320),
        "conv7": chain(in_chans, (192, 1), (192, (1, 7)), (192, (7, 1)), then_halve=192),
        "pool": halve_pool(),
    }
    return Inception(branches)


class AuxHead(Head):
    """The batch-normalised classifier on the last map of the third stage (section 4, figure 8).

    Of a 17x17 map the pooling and both convolutions leave one pixel, of a larger one the mean.

    Shapes: (N, in_chans, H, W) -> (N, num_classes).
    """

    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__(768, num_classes, dropout=0.0)
        self.pool = nn.AvgPool2d(5, stride=3)
        self.reduce = unit(in_chans, 128, 1)
        self.conv = unit(128, 768, 5, padding=0)

    def embed(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, 768).

        Raises:
            VertebraError: the map is smaller than 17x17.
        """
        if min(x.shape[-2:]) < 17:
            raise VertebraError(
                "the auxiliary head of inception_v3 takes images of at least 299x299 pixels; "
                "build the network with aux_heads=False for smaller ones"
            )
        vector: Tensor = self.conv(self.reduce(self.pool(x))).mean((2, 3))
        return vector


def build(name: str, row: InceptionRow, request: Request) -> Backbone:
    """Build the network.

    Raises:
        VertebraError: drop-path, which needs residual branches.
    """
    request.refuse_drop_path(name)
    # Table 1, as released; the first number is channels in.
    stem = nn.Sequential(
        unit(request.in_chans, 32, 3, 2, padding=0), unit(32, 32, 3, padding=0), unit(32, 64, 3)
    )
    figure_5 = double_3x3(192, 32), double_3x3(256, 64), double_3x3(288, 64)
    figure_6 = (split_7x7(768, width) for width in (128, 160, 160, 192))
    stages = [
        Stage([halve_pool(), unit(64, 80, 1), unit(80, 192, 3, padding=0)], 192, stride=2),
        Stage([halve_pool(), *figure_5], 288, stride=2),
        Stage([first_reduction(288), *figure_6], 768, stride=2),
        Stage([second_reduction(768), Spread(1280), Spread(2048)], 2048, stride=2),
    ]
    aux_heads = [AuxHead(768, request.num_classes)] if request.options["aux_heads"] else []
    return Backbone(
        name=name,
        stem=stem,
        stem_stride=2,
        stages=stages,
        head=LinearHead(2048, request.num_classes, request.dropout),
        num_classes=request.num_classes,
        input_size=request.input_size,
        auxiliaries=[Auxiliary(2, 4, head) for head in aux_heads],
        aux_weight=AUX_WEIGHT,
    )


def init_rule(row: InceptionRow, request: Request) -> InitRule:
    """N(0, 0.1^2), N(0, 0.001^2) for the auxiliary classifier, biases as PyTorch has them.

    As torchvision's network starts. Its code means 0.01 for the auxiliary head's 5x5 convolution,
    as the authors have it, but marks the wrong module, so that this one has 0.1 as well.
    """
    return truncated_rule(0.1, exceptions={"aux.0.fc": 0.001})


# Both libraries keep TensorFlow's names: a number for the resolution, a letter for the place.
_UNITS = {"1a": "stem.0", "2a": "stem.1", "2b": "stem.2", "3b": "stages.0.1", "4a": "stages.0.2"}
_NAMES = (
    (r"\.bn\.", ".norm."),
    (r"^Conv2d_(\d[ab])_\dx\d\.", lambda match: f"{_UNITS[match[1]]}."),
    (r"^AuxLogits\.conv0\.", "aux.0.reduce."),
    (r"^AuxLogits\.conv1\.", "aux.0.conv."),
    (r"^AuxLogits\.fc\.", "aux.0.fc."),
    (r"^fc\.", "head.fc."),
    # branch3x3dbl_1 is the first unit of our double3; branch7x7x3 ends in a 3x3
    (r"\.branch(\d)x\ddbl_", r".double\1_"),
    (r"\.branch(\d)x\d(x3)?_", r".conv\1_"),
    # figure 7's 1x3 is an a there, its 3x1 a b
    (r"_[23]a\.", "_row."),
    (r"_[23]b\.", "_column."),
    (r"_(\d)\.", lambda match: f".{int(match[1]) - 1}."),
    # a unit alone in its branch has no number
    (r"\.branch(\d)x\d\.", r".conv\1.0."),
    (r"\.branch_pool\.", ".pool.1."),
    # Mixed_5a would be the pooling of our stage 1
    (r"^Mixed_(\d)([a-e])\.", lambda at: f"stages.{int(at[1]) - 4}.{'abcde'.index(at[2])}."),
)


def from_torchvision(row: InceptionRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename torchvision's or timm's state dict to ours."""
    return by_pattern(state_dict, _NAMES)


VARIANTS = {"inception_v3": InceptionRow(to_unit_range=True)}

FAMILY = Family(
    name="inception",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    options={"aux_heads": Option(True, "one more classifier half-way, for training only")},
    sources={
        "torchvision": Source(from_torchvision),
        "timm": Source(from_torchvision),
    },
)
