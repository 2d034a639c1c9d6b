"""GoogLeNet, the first Inception network.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke and Rabinovich, "Going Deeper with
Convolutions", 2014, arXiv:1409.4842.

``googlenet_2014`` is the paper's: convolutions with a bias and no batch norm, which came a year
later, local response normalisation on both sides of the second convolution. What the paper leaves
open is taken from the replication that Caffe released as ``bvlc_googlenet``: the numbers of the
response normalisation (5 channels, alpha 1e-4, beta 0.75, k 1), poolings that round up, and the
initial weights.

``googlenet`` is torchvision's, whose weights were trained in TensorFlow. It departs: batch norm
(eps 1e-3) in every unit and no response normalisation, 3x3 kernels where the paper has 5x5, 2x2 in
the last max-pooling, auxiliary heads that average to 4x4 whatever the map. With its weights
torchvision's network shifts the images' mean and deviation first; here preprocessing does.

Both have the paper's auxiliary heads, for training only, each with 0.3 of the main loss's weight.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from vertebra.core import VertebraError
from vertebra.nn import (
    Auxiliary,
    Backbone,
    ConvAct,
    ConvNormAct,
    Head,
    InitRule,
    LinearHead,
    Stage,
)
from vertebra.nn.init import truncated_rule
from vertebra.nn.local_response import ResponseNorm
from vertebra.zoo.family import Family, Option, Request, Row, Source, StateDict
from vertebra.zoo.renaming import by_pattern

# Convolution and ReLU in the row's form: (in_chans, out_chans, kernel, stride=1) -> module.
Unit = Callable[..., nn.Module]

AUX_DROPOUT, AUX_WEIGHT = 0.7, 0.3


@dataclass(frozen=True)
class Filters:
    """One line of table 1: the filters of an Inception module, named as the table's columns.

    ``reduce3`` and ``reduce5`` are the 1x1 convolutions before the 3x3 and the 5x5, ``pool`` is the
    one behind the pooling.
    """

    conv1: int
    reduce3: int
    conv3: int
    reduce5: int
    conv5: int
    pool: int

    @property
    def out_chans(self) -> int:
        """Channels of the joined branches."""
        return self.conv1 + self.conv3 + self.conv5 + self.pool


# Table 1 of the paper, a stage a group: a max-pooling of stride 2 precedes each.
# fmt: off
TABLE_1 = (
    #                 1x1 3x3r  3x3 5x5r  5x5 pool
    {
        "3a": Filters( 64,  96, 128,  16,  32,  32),
        "3b": Filters(128, 128, 192,  32,  96,  64),
    },
    {
        "4a": Filters(192,  96, 208,  16,  48,  64),
        "4b": Filters(160, 112, 224,  24,  64,  64),
        "4c": Filters(128, 128, 256,  24,  64,  64),
        "4d": Filters(112, 144, 288,  32,  64,  64),
        "4e": Filters(256, 160, 320,  32, 128, 128),
    },
    {
        "5a": Filters(256, 160, 320,  32, 128, 128),
        "5b": Filters(384, 192, 384,  48, 128, 128),
    },
)
# fmt: on
# The table's first lines: the 7x7 convolution, the 1x1 before the 3x3, the 3x3.
CONV_1, REDUCE_2, CONV_2 = 64, 64, 192
WITH_AUX = ("4a", "4d")


@dataclass(frozen=True, kw_only=True)
class GoogLeNetRow(Row):
    """``batch_norm`` in every unit, else biases and local response normalisation in the stem.

    ``wide_kernel`` is that of the branch that is called 5x5, ``last_pool`` that of the max-pooling
    before module 5a. ``adaptive_aux`` says how auxiliary heads come to a 4x4 map.
    """

    batch_norm: bool
    wide_kernel: int
    last_pool: int
    adaptive_aux: bool
    year: int = 2014
    paper: str = "1409.4842"


class Inception(nn.Module):
    """1x1, 3x3 and 5x5 convolutions and a pooling side by side (figure 2b), joined along channels.

    Shapes: (N, in_chans, H, W) -> (N, filters.out_chans, H, W).
    """

    def __init__(self, in_chans: int, filters: Filters, wide_kernel: int, unit: Unit) -> None:
        super().__init__()
        self.branch1 = unit(in_chans, filters.conv1, 1)
        self.branch3 = nn.Sequential(
            unit(in_chans, filters.reduce3, 1), unit(filters.reduce3, filters.conv3, 3)
        )
        self.branch5 = nn.Sequential(
            unit(in_chans, filters.reduce5, 1), unit(filters.reduce5, filters.conv5, wide_kernel)
        )
        self.branch_pool = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), unit(in_chans, filters.pool, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, filters.out_chans, H, W)."""
        branches = (self.branch1, self.branch3, self.branch5, self.branch_pool)
        return torch.cat([branch(x) for branch in branches], 1)


class AuxHead(Head):
    """A small classifier on a map in the middle of the network (section 5).

    Average pooling to 4x4, a 1x1 convolution to 128 channels, 1024 units, dropout 0.7, the
    classifier. The paper pools 5x5 with stride 3, which gives 4x4 for images near 224 pixels only;
    with ``adaptive`` pooling any image does.

    Shapes: (N, in_chans, 14, 14) -> (N, num_classes).
    """

    def __init__(self, in_chans: int, num_classes: int, adaptive: bool, unit: Unit) -> None:
        super().__init__(1024, num_classes, AUX_DROPOUT)
        self.adaptive = adaptive
        self.pool = nn.AdaptiveAvgPool2d(4) if adaptive else nn.AvgPool2d(5, stride=3)
        self.conv = unit(in_chans, 128, 1)
        self.hidden = nn.Linear(128 * 4 * 4, 1024)
        self.act = nn.ReLU(inplace=True)

    def embed(self, x: Tensor) -> Tensor:
        """(N, in_chans, 14, 14) -> (N, 1024).

        Raises:
            VertebraError: the paper's pooling does not give 4x4.
        """
        if not self.adaptive and not all(14 <= side <= 16 for side in x.shape[-2:]):
            raise VertebraError(
                f"the paper's auxiliary heads need maps of 14 to 16 pixels (images of 223 to 270), "
                f"got {tuple(x.shape[-2:])}; build the network with aux_heads=False for others"
            )
        vector: Tensor = self.act(self.hidden(self.conv(self.pool(x)).flatten(1)))
        return vector


def make_pool(kernel: int) -> nn.MaxPool2d:
    """Halves a map; rounds up, as the paper's sizes (112, 56, 28, 14, 7) need."""
    return nn.MaxPool2d(kernel, stride=2, ceil_mode=True)


def make_response_norm() -> ResponseNorm:
    """As Caffe's release has it, whose alpha of 1e-4 multiplies a mean over the 5 channels."""
    return ResponseNorm(5, alpha=1e-4 / 5, beta=0.75, k=1.0)


def build(name: str, row: GoogLeNetRow, request: Request) -> Backbone:
    """Build one row of the table.

    Raises:
        VertebraError: drop-path, which needs residual branches.
    """
    request.refuse_drop_path(name)
    unit: Unit = partial(ConvNormAct, eps=1e-3) if row.batch_norm else ConvAct
    first: list[nn.Module] = [unit(CONV_1, REDUCE_2, 1), unit(REDUCE_2, CONV_2, 3)]
    if not row.batch_norm:
        first = [make_response_norm(), *first, make_response_norm()]
    stages, channels = [Stage([make_pool(3), *first], CONV_2, stride=2)], CONV_2
    auxiliaries: list[Auxiliary] = []
    for modules in TABLE_1:
        blocks: list[nn.Module] = [make_pool(row.last_pool if "5a" in modules else 3)]
        for module, filters in modules.items():
            blocks.append(Inception(channels, filters, row.wide_kernel, unit))
            channels = filters.out_chans
            if module in WITH_AUX and request.options["aux_heads"]:
                head = AuxHead(channels, request.num_classes, row.adaptive_aux, unit)
                auxiliaries.append(Auxiliary(len(stages), len(blocks) - 1, head))
        stages.append(Stage(blocks, channels, stride=2))
    return Backbone(
        name=name,
        stem=unit(request.in_chans, CONV_1, 7, stride=2),
        stem_stride=2,
        stages=stages,
        head=LinearHead(channels, request.num_classes, request.dropout),
        num_classes=request.num_classes,
        input_size=request.input_size,
        auxiliaries=auxiliaries,
        aux_weight=AUX_WEIGHT,
    )


def init_rule(row: GoogLeNetRow, request: Request) -> InitRule:
    """The initial weights of torchvision's network, or without batch norm those of Caffe's.

    torchvision: N(0, 0.01^2) for every weight, PyTorch's own uniform for the biases. Caffe:
    "xavier" by fan-in alone, U(-sqrt(3 / fan_in), sqrt(3 / fan_in)), and biases of 0.2, so that
    units start active; 0 for the classifiers. The paper says neither.
    """

    def as_caffe(
        path: str, module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator
    ) -> None:
        if name == "weight":
            bound = (3 / parameter[0].numel()) ** 0.5
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        else:
            parameter.fill_(0.0 if path.endswith(".fc") else 0.2)

    return truncated_rule(0.01) if row.batch_norm else as_caffe


_NAMES = (
    (r"\.bn\.", ".norm."),
    (r"^conv1\.", "stem."),
    # the 1x1 and the 3x3 of the table's second convolution; a pooling precedes them in our stage
    (r"^conv2\.", "stages.0.1."),
    (r"^conv3\.", "stages.0.2."),
    # inception4a is the module behind our stage 2's pooling
    (
        r"^inception(\d)([a-e])\.",
        lambda match: f"stages.{int(match[1]) - 2}.{'abcde'.index(match[2]) + 1}.",
    ),
    # their branches are numbered, ours named by their kernel; 3 before 2, which becomes 3
    (r"\.branch3\.", ".branch5."),
    (r"\.branch2\.", ".branch3."),
    (r"\.branch4\.", ".branch_pool."),
    # aux1 is on 4a, aux2 on 4d
    (r"^aux(\d)\.", lambda match: f"aux.{int(match[1]) - 1}."),
    (r"\.fc1\.", ".hidden."),
    (r"\.fc2\.", ".fc."),
    (r"^fc\.", "head.fc."),
)


def from_torchvision(row: GoogLeNetRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename torchvision's state dict to ours."""
    return by_pattern(state_dict, _NAMES)


VARIANTS: dict[str, GoogLeNetRow] = {
    "googlenet": GoogLeNetRow(
        batch_norm=True,
        wide_kernel=3,
        last_pool=2,
        adaptive_aux=True,
        dropout=0.2,
        to_unit_range=True,
        smallest=15,
    ),
    "googlenet_2014": GoogLeNetRow(
        batch_norm=False,
        wide_kernel=5,
        last_pool=3,
        adaptive_aux=False,
        dropout=0.4,
        smallest=31,
    ),
}

FAMILY = Family(
    name="googlenet",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    options={"aux_heads": Option(True, "two more classifiers half-way, for training only")},
    sources={"torchvision": Source(from_torchvision)},
)
