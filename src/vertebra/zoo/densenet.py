"""Densely connected networks, in the form with bottlenecks and compression (DenseNet-BC).

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016,
arXiv:1608.06993. The option ``memory_efficient`` is from Pleiss et al., "Memory-Efficient
Implementation of DenseNets", 2017, arXiv:1707.06990.

As torchvision and timm have them, which is as in the paper; DenseNet-161 is from the authors'
repository, the paper's last version has DenseNet-264 instead. A transition stands at the beginning
of the stage that it leads to, so that a stage's map is the concatenation that its dense block
gives; the norm and ReLU after the last block belong to the head. The dropout after each layer that
the paper has for small data sets without augmentation is left out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vertebra.nn import (
    Backbone,
    ConvNormAct,
    InitRule,
    LinearHead,
    Stage,
    recompute,
)
from vertebra.nn.init import default_linear, default_norm
from vertebra.zoo.family import Family, Option, Request, Row, Source, StateDict
from vertebra.zoo.renaming import by_pattern

# Section 3: a bottleneck has 4k maps, and a transition keeps half of those that it is given.
BOTTLENECK, COMPRESSION = 4, 0.5


@dataclass(frozen=True, kw_only=True)
class DenseNetRow(Row):
    """One column of table 1: ``depths`` are the layers of each dense block, ``growth`` is k."""

    year: int = 2016
    paper: str = "1608.06993"
    smallest: int = 29
    depths: tuple[int, ...]
    growth: int = 32


class DenseLayer(nn.Module):
    """``x_l = H([x_0, ..., x_(l-1)])``, equation 2; H is norm, ReLU, 1x1 to 4k maps, then to k 3x3.

    Norm and ReLU stand before each convolution, as in ResNet v2. ``memory_efficient`` forgets what
    the 1x1 takes, which grows with the square of the depth, and computes it again for the gradient.
    The running statistics of batch norm count each batch once all the same, where torchvision's and
    timm's ``memory_efficient`` counts it twice.

    Shapes: (N, C, H, W), (N, k, H, W), ... -> (N, k, H, W); in_chans is the sum of their channels.
    """

    def __init__(self, in_chans: int, growth: int, memory_efficient: bool) -> None:
        super().__init__()
        inner = BOTTLENECK * growth
        self.norm1 = nn.BatchNorm2d(in_chans)
        self.conv1 = nn.Conv2d(in_chans, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, growth, 3, padding=1, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.memory_efficient = memory_efficient

    def forward(self, *maps: Tensor) -> Tensor:
        """(N, C, H, W), (N, k, H, W), ... -> (N, k, H, W)."""
        if self.memory_efficient and self.training and torch.is_grad_enabled():
            squeezed = recompute(self, *maps, part=self.bottleneck)
        else:
            squeezed = self.bottleneck(*maps)
        grown: Tensor = self.conv2(self.act(self.norm2(squeezed)))
        return grown

    def bottleneck(self, *maps: Tensor) -> Tensor:
        """(N, C, H, W), (N, k, H, W), ... -> (N, 4k, H, W)."""
        # torch.cat would copy even a single map
        x = torch.cat(maps, 1) if len(maps) > 1 else maps[0]
        squeezed: Tensor = self.conv1(self.act(self.norm1(x)))
        return squeezed


class DenseBlock(nn.Module):
    """Layers of which each sees the maps of all before it (figure 1); gives all of them.

    Shapes: (N, in_chans, H, W) -> (N, in_chans + depth * growth, H, W).
    """

    def __init__(self, in_chans: int, depth: int, growth: int, memory_efficient: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DenseLayer(in_chans + place * growth, growth, memory_efficient)
            for place in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, in_chans + depth * growth, H, W)."""
        maps = [x]
        for layer in self.layers:
            maps.append(layer(*maps))
        return torch.cat(maps, 1)


class Transition(nn.Module):
    """Between dense blocks: norm, ReLU, 1x1 to fewer maps, then 2x2 average pooling.

    Shapes: (N, in_chans, H, W) -> (N, out_chans, floor(H / 2), floor(W / 2)).
    """

    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_chans)
        self.act = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(in_chans, out_chans, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_chans, H, W) -> (N, out_chans, floor(H / 2), floor(W / 2))."""
        out: Tensor = self.pool(self.conv(self.act(self.norm(x))))
        return out


def build(name: str, row: DenseNetRow, request: Request) -> Backbone:
    """Build one row of the table.

    Raises:
        VertebraError: drop-path, which needs residual branches.
    """
    request.refuse_drop_path(name)
    channels = 2 * row.growth
    stem = nn.Sequential(
        ConvNormAct(request.in_chans, channels, 7, stride=2),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    memory_efficient = request.options["memory_efficient"]
    stages: list[Stage] = []
    for depth in row.depths:
        blocks: list[nn.Module] = []
        if stages:
            compressed = int(channels * COMPRESSION)
            blocks.append(Transition(channels, compressed))
            channels = compressed
        blocks.append(DenseBlock(channels, depth, row.growth, memory_efficient))
        channels += depth * row.growth
        stages.append(Stage(blocks, channels, stride=2 if stages else 1))
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


def init_rule(row: DenseNetRow, request: Request) -> InitRule:
    """He initialisation by fan-in (arXiv:1502.01852, equation 10), as torchvision has it.

    The classifier keeps PyTorch's own weights, with shifts of zero.
    """

    def rule(
        path: str, module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator
    ) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.Linear) and name == "weight":
            default_linear(parameter, module.in_features, generator)
        else:
            default_norm(name, parameter)

    return rule


# torchvision's names, piece by piece, which are timm's too. There blocks and layers count from 1
# and transition i follows dense block i; here it opens the stage of block i + 1.
_NAMES = (
    # torchvision's files still say "norm.1", which its own loader mends
    (r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),
    (r"\.denselayer(\d+)\.", lambda match: f".layers.{int(match[1]) - 1}."),
    # the first stage has no transition, so that its dense block comes first
    (r"^features\.denseblock1\.", "stages.0.0."),
    (r"^features\.denseblock(\d+)\.", lambda match: f"stages.{int(match[1]) - 1}.1."),
    (r"^features\.transition(\d+)\.", r"stages.\1.0."),
    (r"^features\.(norm|conv)0\.", r"stem.0.\1."),
    (r"^features\.norm5\.", "head.before.0."),
    (r"^classifier\.", "head.fc."),
)


def from_torchvision(row: DenseNetRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename the state dict of torchvision's or timm's DenseNet, or torchvision's file, to ours."""
    return by_pattern(state_dict, _NAMES)


VARIANTS: dict[str, DenseNetRow] = {
    #                               layers of each dense block
    "densenet121": DenseNetRow(depths=(6, 12, 24, 16)),
    "densenet169": DenseNetRow(depths=(6, 12, 32, 32)),
    "densenet201": DenseNetRow(depths=(6, 12, 48, 32)),
    "densenet161": DenseNetRow(depths=(6, 12, 36, 24), growth=48),
}

FAMILY = Family(
    name="densenet",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    options={
        "memory_efficient": Option(
            False, "compute what each layer's first convolution takes again for the gradient"
        ),
    },
    sources={"torchvision": Source(from_torchvision), "timm": Source(from_torchvision)},
)
