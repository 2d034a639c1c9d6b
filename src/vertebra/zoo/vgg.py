"""VGG: nothing but 3x3 convolutions, in depths from 11 to 19.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014,
arXiv:1409.1556. The four depths are configurations A, B, D and E of the paper's table 1.

Batch normalisation (the ``_bn`` rows) is younger than the paper; torchvision put it between each
convolution, whose bias it kept, and its ReLU. Two departures of torchvision are kept: adaptive
pooling lets images of other sizes than 224 reach the fully connected layers (the paper turns these
into convolutions instead), and the initialisation is He's, where the paper had to train shallow
configurations first to start deeper ones.

``vgg16_gap`` has the body of ``vgg16``, last pooling included, and global average pooling (Lin et
al., 2013, arXiv:1312.4400) instead of the hidden layers, which hold 119.5 of the 138 million
parameters. Weights of ``vgg16`` fit its body: load them into a net without classes.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from vertebra.nn import (
    Backbone,
    ConvAct,
    ConvNormAct,
    FlattenHead,
    Head,
    InitRule,
    LinearHead,
    Stage,
)
from vertebra.nn.init import he_rule, normal
from vertebra.zoo.family import Family, Request, Row, Source, StateDict
from vertebra.zoo.renaming import by_prefix

WIDTHS = (64, 128, 256, 512, 512)
GRID, HIDDEN = 7, 4096
SMALLEST = 32  # five poolings must leave a pixel to the head


@dataclass(frozen=True, kw_only=True)
class VGGRow(Row):
    """One column of the paper's table 1.

    ``depths`` is the number of convolutions in each stage, ``norm`` whether batch norms follow
    them, ``gap`` whether global pooling replaces the hidden layers.
    """

    depths: tuple[int, int, int, int, int]
    norm: bool = False
    gap: bool = False
    year: int = 2014
    paper: str = "1409.1556"
    dropout: float = 0.5
    smallest: int = 16  # four poolings must leave a pixel


def conv_unit(in_chans: int, out_chans: int, norm: bool) -> nn.Module:
    """3x3 convolution with a bias, batch norm where ``norm``, ReLU (section 2.1).

    Shapes: (N, in_chans, H, W) -> (N, out_chans, H, W).
    """
    if norm:
        return ConvNormAct(in_chans, out_chans, 3, bias=True)
    return ConvAct(in_chans, out_chans, 3)


def make_head(row: VGGRow, request: Request) -> Head:
    """The head of the row's form.

    Shapes: (N, 512, H, W) -> (N, num_classes).
    """
    head = make_gap_head(request) if row.gap else make_hidden_head(request)
    head.smallest = SMALLEST
    return head


def make_gap_head(request: Request) -> LinearHead:
    """The last pooling, then global average pooling.

    Shapes: (N, 512, H, W) -> (N, num_classes).
    """
    return LinearHead(WIDTHS[-1], request.num_classes, request.dropout, before=nn.MaxPool2d(2))


def make_hidden_head(request: Request) -> FlattenHead:
    """The last pooling, two hidden layers with dropout after each, the classifier (table 1).

    Shapes: (N, 512, H, W) -> (N, num_classes); ``embed`` gives the second hidden layer.
    """
    channels = WIDTHS[-1]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["fc6"] = nn.Linear(channels * GRID * GRID, HIDDEN)
    layers["relu6"] = nn.ReLU(inplace=True)
    layers["drop6"] = nn.Dropout(request.dropout)
    layers["fc7"] = nn.Linear(HIDDEN, HIDDEN)
    layers["relu7"] = nn.ReLU(inplace=True)
    return FlattenHead(
        channels,
        HIDDEN,
        request.num_classes,
        request.dropout,
        pool=nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(GRID)),
        hidden=nn.Sequential(layers),
    )


def build(name: str, row: VGGRow, request: Request) -> Backbone:
    """Build one row of the table.

    Raises:
        VertebraError: drop-path, which needs residual branches.
    """
    request.refuse_drop_path(name)
    channels = request.in_chans
    stages: list[Stage] = []
    for depth, width in zip(row.depths, WIDTHS, strict=True):
        blocks: list[nn.Module] = [nn.MaxPool2d(2)] if stages else []
        for _ in range(depth):
            blocks.append(conv_unit(channels, width, row.norm))
            channels = width
        stages.append(Stage(blocks, width, stride=2 if stages else 1))
    return Backbone(
        name=name,
        stem=nn.Identity(),
        stages=stages,
        head=make_head(row, request),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def init_rule(row: VGGRow, request: Request) -> InitRule:
    """He initialisation by fan-out, N(0, 0.01^2) for linear layers, no bias, as torchvision has it.

    It is timm's too.
    """
    return he_rule(normal(0.01))


def _body_names(row: VGGRow) -> dict[str, str]:
    """Of the convolutions and norms, in one flat list there, poolings and ReLUs counted."""
    names = {}
    number = 0
    for stage, depth in enumerate(row.depths):
        for place in range(depth):
            # our stages but the first begin with the pooling that ends one there
            ours = f"stages.{stage}.{place + (stage > 0)}"
            names[f"features.{number}"] = f"{ours}.conv"
            if row.norm:
                names[f"features.{number + 1}"] = f"{ours}.norm"
            number += 3 if row.norm else 2
        number += 1
    return names


def _renamed(row: VGGRow, state_dict: StateDict, heads: dict[str, str]) -> dict[str, Tensor]:
    """With the head's layers under ``heads``; where the row has no hidden layers, only the body."""
    if row.gap:
        kept = {name: value for name, value in state_dict.items() if name.startswith("features.")}
        return by_prefix(kept, _body_names(row))
    return by_prefix(state_dict, _body_names(row) | heads)


def from_torchvision(row: VGGRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename torchvision's state dict to ours: flat lists there, numbered over every module."""
    heads = {
        "classifier.0": "head.hidden.fc6",
        "classifier.3": "head.hidden.fc7",
        "classifier.6": "head.fc",
    }
    return _renamed(row, state_dict, heads)


def from_timm(row: VGGRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename timm's state dict to ours: torchvision's body, hidden layers stored as convolutions.

    A 7x7 kernel (4096, 512, 7, 7) holds the numbers of the matrix (4096, 25088) in the same order,
    and a 1x1 kernel those of (4096, 4096).
    """
    heads = {"pre_logits.fc1": "head.hidden.fc6", "pre_logits.fc2": "head.hidden.fc7"}
    renamed = _renamed(row, state_dict, heads)
    return {
        name: value.flatten(1) if name.startswith("head.hidden.") and value.ndim > 1 else value
        for name, value in renamed.items()
    }


VARIANTS: dict[str, VGGRow] = {
    #                 convolutions a stage
    "vgg11": VGGRow(depths=(1, 1, 2, 2, 2)),
    "vgg13": VGGRow(depths=(2, 2, 2, 2, 2)),
    "vgg16": VGGRow(depths=(2, 2, 3, 3, 3)),
    "vgg19": VGGRow(depths=(2, 2, 4, 4, 4)),
    "vgg11_bn": VGGRow(depths=(1, 1, 2, 2, 2), norm=True),
    "vgg13_bn": VGGRow(depths=(2, 2, 2, 2, 2), norm=True),
    "vgg16_bn": VGGRow(depths=(2, 2, 3, 3, 3), norm=True),
    "vgg19_bn": VGGRow(depths=(2, 2, 4, 4, 4), norm=True),
    # without hidden layers there is nothing that the paper's dropout regularised
    "vgg16_gap": VGGRow(depths=(2, 2, 3, 3, 3), gap=True, dropout=0.0),
}

FAMILY = Family(
    name="vgg",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    sources={"torchvision": Source(from_torchvision), "timm": Source(from_timm)},
)
