"""AlexNet: five convolutional and three fully connected layers, the network of ILSVRC 2012.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
NIPS 2012, and Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014,
arXiv:1404.5997.

``alexnet_2012`` is the first paper's network. The two halves that ran on two GPUs and met in the
third convolution are two groups of the second, fourth and fifth; response normalisation runs across
them, as the paper's formula has it. ``alexnet_ungrouped`` is the same network without groups, as it
is often drawn. ``alexnet`` is the narrower one of the second paper in torchvision's form: without
response normalisation, which the author's configuration has, with PyTorch's initialisation, and
with dropout before the hidden layers instead of after them.

The 2012 paper says images of 224 pixels and maps of 55, which no even padding gives: its code
rounded up, over zeros beyond the right and the bottom edge. Here the first convolution has two
pixels of padding all around, so that 224 give 55; with ``unpadded=True`` it has none, and the input
is 227, which gives 55 too, as Caffe's weights expect it.

Poolings have no padding, so a map is up to two pixels smaller than input size / reduction, up to
two and a half with ``unpadded``. Adaptive pooling before the fully connected layers, which changes
nothing at the sizes above, lets other sizes through.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vertebra.nn import Backbone, ConvAct, FlattenHead, InitRule, Stage
from vertebra.nn.init import default_linear
from vertebra.nn.local_response import ResponseNorm
from vertebra.zoo.family import Family, Option, Request, Row, Source, StateDict
from vertebra.zoo.renaming import by_prefix

GRID, HIDDEN = 6, 4096
# Kernel, stride and padding of the five convolutions.
CONVS = ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))
# Section 5 of the 2012 paper: biases that start at one, so that ReLUs get positive inputs.
ONES = frozenset({"stages.1.1", "stages.2.2", "stages.2.3", "head.hidden.fc6", "head.hidden.fc7"})


@dataclass(frozen=True, kw_only=True)
class AlexNetRow(Row):
    """``channels`` and ``groups`` of the five convolutions.

    ``faithful`` says whether response normalisation, the place of dropout and the initialisation
    are those of the 2012 paper.
    """

    channels: tuple[int, int, int, int, int]
    groups: tuple[int, int, int, int, int] = (1, 1, 1, 1, 1)
    faithful: bool = True
    year: int = 2012
    paper: str = "doi:10.1145/3065386"
    dropout: float = 0.5
    smallest: int = 31


def make_blocks(row: AlexNetRow, in_chans: int, unpadded: bool) -> list[list[nn.Module]]:
    """The three stages: convolutions with ReLU (section 3.1); the second and the third pool first.

    Response normalisation (section 3.3) follows the first two convolutions.
    """
    stages: list[list[nn.Module]] = [[], [make_pool()], [make_pool()]]
    for index, (kernel, stride, padding) in enumerate(CONVS):
        stage = stages[min(index, 2)]
        if index == 0 and unpadded:
            padding = 0
        width, groups = row.channels[index], row.groups[index]
        stage.append(ConvAct(in_chans, width, kernel, stride, groups, padding=padding))
        if row.faithful and index < 2:
            stage.append(ResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0))
        in_chans = width
    return stages


def make_pool() -> nn.MaxPool2d:
    """Windows of 3, two pixels apart, overlap (section 3.4)."""
    return nn.MaxPool2d(3, stride=2)


def make_head(row: AlexNetRow, request: Request) -> FlattenHead:
    """The last pooling, two hidden layers and the classifier (figure 2).

    Dropout follows both hidden layers (section 4.2); in torchvision's form it precedes them.

    Shapes: (N, channels, H, W) -> (N, num_classes); ``embed`` gives the second hidden layer.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width = row.channels[-1] * GRID * GRID
    for number in (6, 7):
        if not row.faithful:
            layers[f"drop{number}"] = nn.Dropout(request.dropout)
        layers[f"fc{number}"] = nn.Linear(width, HIDDEN)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        if row.faithful and number == 6:
            layers["drop6"] = nn.Dropout(request.dropout)
        width = HIDDEN
    head = FlattenHead(
        row.channels[-1],
        HIDDEN,
        request.num_classes,
        request.dropout,
        pool=nn.Sequential(make_pool(), nn.AdaptiveAvgPool2d(GRID)),
        hidden=nn.Sequential(layers),
    )
    head.smallest = 67 if request.options["unpadded"] else 63
    if not row.faithful:
        head.dropout = nn.Identity()
    return head


def build(name: str, row: AlexNetRow, request: Request) -> Backbone:
    """Build one row of the table.

    Raises:
        VertebraError: drop-path, which needs residual branches.
    """
    request.refuse_drop_path(name)
    first, second, third = make_blocks(row, request.in_chans, request.options["unpadded"])
    return Backbone(
        name=name,
        stem=nn.Identity(),
        stages=[
            Stage(first, row.channels[0], stride=4),
            Stage(second, row.channels[1], stride=2),
            Stage(third, row.channels[4], stride=2),
        ],
        head=make_head(row, request),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def init_rule(row: AlexNetRow, request: Request) -> InitRule:
    """N(0, 0.01^2) and biases of one or zero (section 5 of the 2012 paper), or PyTorch's default.

    torchvision leaves the default in place: uniform within 1/sqrt(fan_in), biases too.
    """

    def rule(
        path: str, module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator
    ) -> None:
        if not row.faithful:
            fan_in = module.get_parameter("weight")[0].numel()
            default_linear(parameter, fan_in, generator)
        elif name == "weight":
            nn.init.normal_(parameter, std=0.01, generator=generator)
        else:
            parameter.fill_(1.0 if path.removesuffix(".conv") in ONES else 0.0)

    return rule


def from_torchvision(row: AlexNetRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename torchvision's state dict to ours: flat lists there, numbered over every module."""
    return by_prefix(
        state_dict,
        {
            "features.0": "stages.0.0.conv",
            "features.3": "stages.1.1.conv",
            "features.6": "stages.2.1.conv",
            "features.8": "stages.2.2.conv",
            "features.10": "stages.2.3.conv",
            "classifier.1": "head.hidden.fc6",
            "classifier.4": "head.hidden.fc7",
            "classifier.6": "head.fc",
        },
    )


def _specialise(row: AlexNetRow, options: Mapping[str, Any]) -> AlexNetRow:
    return replace(row, input_size=(3, 227, 227), smallest=35) if options["unpadded"] else row


VARIANTS: dict[str, AlexNetRow] = {
    "alexnet": AlexNetRow(
        year=2014, paper="1404.5997", channels=(64, 192, 384, 256, 256), faithful=False
    ),
    "alexnet_2012": AlexNetRow(channels=(96, 256, 384, 384, 256), groups=(1, 2, 1, 2, 2)),
    "alexnet_ungrouped": AlexNetRow(channels=(96, 256, 384, 384, 256)),
}

FAMILY = Family(
    name="alexnet",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    options={
        "unpadded": Option(
            False, "no padding in the first convolution; the input is then 227 pixels"
        ),
    },
    sources={"torchvision": Source(from_torchvision)},
    specialise=_specialise,
)
