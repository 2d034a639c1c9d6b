"""Residual networks.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385.
Here too, since they are the same network with other numbers: ResNeXt (Xie et al., 2016,
arXiv:1611.05431), wide ResNets (Zagoruyko and Komodakis, 2016, arXiv:1605.07146), SE-ResNet (Hu et
al., 2017, arXiv:1709.01507), the CIFAR networks of the paper's section 4.2, and their plain twins:
the same layers without shortcuts, on which the paper shows that depth alone makes training harder.

Departure from the paper: bottlenecks stride in their 3x3 convolution, not in the first 1x1
("v1.5"), as torchvision and nearly every published weight have it. ResNet-50 then takes 4.1 GMAC
instead of the paper's 3.8, which ``resnet50_v1`` keeps.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.nn import (
    Backbone,
    ConvNormAct,
    DropPath,
    InitRule,
    LinearHead,
    SqueezeExcite,
    Stage,
    drop_path_rates,
)
from vertebra.nn.init import default_linear, default_norm, he_fan_out
from vertebra.zoo.family import Family, Option, Request, Row, Source, StateDict
from vertebra.zoo.renaming import by_pattern

IMAGENET_WIDTHS = (64, 128, 256, 512)
CIFAR_WIDTHS = (16, 32, 64)
SE_REDUCTION = 16  # the reduction ratio r of arXiv:1709.01507


@dataclass(frozen=True, kw_only=True)
class ResNetRow(Row):
    """One row of the paper's table 1 (ImageNet) or of section 4.2 (CIFAR).

    ``width`` is the width of the first stage's 3x3 convolution in each group; a wide ResNet has 128
    in one group, a ResNeXt 32x4d has 4 in 32. ``v1`` strides in a bottleneck's first convolution.
    ``squeeze`` ends each branch with squeeze-and-excite. ``shortcut`` is the paper's option where
    the shape changes: "B" projects by a 1x1 convolution, "A" pads with zeros, None leaves every
    shortcut out.
    """

    bottleneck: bool = False
    depths: tuple[int, ...]
    groups: int = 1
    width: int = 64
    v1: bool = False
    squeeze: bool = False
    cifar: bool = False
    shortcut: str | None = "B"


class PadShortcut(nn.Module):
    """Option A of the paper's section 3.3: every second pixel, the new channels filled with zeros.

    Needs no parameters. The zeros come behind the channels that exist; the paper does not say
    where.

    Shapes: (N, C, H, W) -> (N, C + extra, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + extra, H', W')."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


class ResidualBlock(nn.Module):
    """``act(branch(x) + shortcut(x))``, the paper's equation 2; plain nets leave the sum out.

    The branch's last convolution has no activation of its own: it comes after the sum.

    Shapes: (N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, branch: nn.Sequential, shortcut: nn.Module | None, drop_path: float) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.drop_path = DropPath(drop_path)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        out = self.drop_path(self.branch(x))
        if self.shortcut is not None:
            out += self.shortcut(x)  # nothing else holds what a branch gives
        activated: Tensor = self.act(out)
        return activated


def basic_branch(in_chans: int, width: int, stride: int) -> list[nn.Module]:
    """Two 3x3 convolutions, the first with the stride (figure 5, left)."""
    return [ConvNormAct(in_chans, width, 3, stride), ConvNormAct(width, width, 3, act=None)]


def bottleneck_branch(
    in_chans: int, inner: int, out_chans: int, strides: tuple[int, int], groups: int
) -> list[nn.Module]:
    """1x1 down, 3x3 with the groups, 1x1 up (figure 5, right); ``strides`` of the first two."""
    return [
        ConvNormAct(in_chans, inner, 1, strides[0]),
        ConvNormAct(inner, inner, 3, strides[1], groups),
        ConvNormAct(inner, out_chans, 1, act=None),
    ]


def make_block(
    row: ResNetRow, in_chans: int, width: int, stride: int, drop_path: float
) -> tuple[ResidualBlock, int]:
    """One block of a stage of ``width`` and the number of channels it gives."""
    if row.bottleneck:
        out_chans = 4 * width
        inner = width * row.width // 64 * row.groups
        strides = (stride, 1) if row.v1 else (1, stride)
        branch = bottleneck_branch(in_chans, inner, out_chans, strides, row.groups)
    else:
        out_chans = width
        branch = basic_branch(in_chans, width, stride)
    if row.squeeze:
        branch.append(SqueezeExcite(out_chans, out_chans // SE_REDUCTION))
    shortcut = make_shortcut(row.shortcut, in_chans, out_chans, stride)
    return ResidualBlock(nn.Sequential(*branch), shortcut, drop_path), out_chans


def make_shortcut(kind: str | None, in_chans: int, out_chans: int, stride: int) -> nn.Module | None:
    """The identity wherever shapes agree; else what the paper's option ``kind`` has."""
    if kind is None:
        return None
    if stride == 1 and in_chans == out_chans:
        return nn.Identity()
    if kind == "A":
        return PadShortcut(out_chans - in_chans, stride)
    return ConvNormAct(in_chans, out_chans, 1, stride, act=None)


def make_stem(in_chans: int, cifar: bool) -> nn.Sequential:
    """7x7/2 and max-pooling/2 for ImageNet; one 3x3 for 32-pixel images."""
    if cifar:
        return nn.Sequential(ConvNormAct(in_chans, CIFAR_WIDTHS[0], 3))
    return nn.Sequential(
        ConvNormAct(in_chans, IMAGENET_WIDTHS[0], 7, stride=2),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def build(name: str, row: ResNetRow, request: Request) -> Backbone:
    """Build one row of the table.

    Raises:
        VertebraError: drop-path for a plain network, which has no residual branch to drop.
    """
    if row.shortcut is None:
        request.refuse_drop_path(name)
    widths = CIFAR_WIDTHS if row.cifar else IMAGENET_WIDTHS
    rates = drop_path_rates(request.drop_path, row.depths)
    channels = widths[0]
    stages: list[Stage] = []
    for width, stage_rates in zip(widths, rates, strict=True):
        stride = 2 if stages else 1
        blocks: list[nn.Module] = []
        for place, rate in enumerate(stage_rates):
            block, channels = make_block(row, channels, width, 1 if place else stride, rate)
            blocks.append(block)
        stages.append(Stage(blocks, channels, stride))
    return Backbone(
        name=name,
        stem=make_stem(request.in_chans, row.cifar),
        stem_stride=1 if row.cifar else 4,
        stages=stages,
        head=LinearHead(channels, request.num_classes, request.dropout),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def init_rule(row: ResNetRow, request: Request) -> InitRule:
    """He initialisation by fan-out (arXiv:1502.01852), as torchvision has it.

    The shifts of squeeze-and-excite, the only ones of a convolution, are PyTorch's own, as timm has
    them. With ``zero_init``, the scale of each branch's last norm starts at zero, so that a block
    starts as the identity (Goyal et al., 2017, arXiv:1706.02677, section 5.1).
    """
    zero_init, last = request.options["zero_init"], "2" if row.bottleneck else "1"

    def rule(
        path: str, module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator
    ) -> None:
        if isinstance(module, nn.Conv2d) and name == "weight":
            he_fan_out(parameter, generator)
        elif isinstance(module, nn.Conv2d):
            default_linear(parameter, module.in_channels, generator)
        elif isinstance(module, nn.Linear):
            default_linear(parameter, module.in_features, generator)
        else:
            default_norm(name, parameter)
            if zero_init and name == "weight" and path.endswith(f"branch.{last}.norm"):
                parameter.zero_()

    return rule


# torchvision's names, piece by piece; timm kept them. Ours nest a convolution and its norm.
_NAMES = (
    # layer1 is our stages.0
    (r"^layer(\d+)\.", lambda match: f"stages.{int(match[1]) - 1}."),
    # conv1/bn1 of a block are the branch's unit 0
    (r"^(stages.*)\.conv(\d)\.", lambda match: f"{match[1]}.branch.{int(match[2]) - 1}.conv."),
    (r"^(stages.*)\.bn(\d)\.", lambda match: f"{match[1]}.branch.{int(match[2]) - 1}.norm."),
    # timm's squeeze-and-excite; here it ends the branch, after three units
    (r"\.se\.fc1\.", ".branch.3.reduce."),
    (r"\.se\.fc2\.", ".branch.3.expand."),
    # the projection shortcut is a Sequential of convolution and norm there
    (r"\.downsample\.0\.", ".shortcut.conv."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
    (r"^conv1\.", "stem.0.conv."),
    (r"^bn1\.", "stem.0.norm."),
    (r"^fc\.", "head.fc."),
)


def from_torchvision(row: ResNetRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename the state dict of torchvision's or timm's ResNet, ResNeXt or wide ResNet to ours."""
    return by_pattern(state_dict, _NAMES)


def _imagenet(bottleneck: bool, depths: tuple[int, ...]) -> ResNetRow:
    return ResNetRow(year=2015, paper="1512.03385", bottleneck=bottleneck, depths=depths)


def _resnext(depths: tuple[int, ...], groups: int, width: int) -> ResNetRow:
    row = _imagenet(True, depths)
    return replace(row, year=2016, paper="1611.05431", groups=groups, width=width)


def _wide(depths: tuple[int, ...]) -> ResNetRow:
    return replace(_imagenet(True, depths), year=2016, paper="1605.07146", width=128)


def _squeezed(depths: tuple[int, ...]) -> ResNetRow:
    return replace(_imagenet(True, depths), year=2017, paper="1709.01507", squeeze=True)


def _cifar(depth: int, shortcut: str | None = "A") -> ResNetRow:
    """6n + 2 layers: three stages of n blocks of two, the first convolution and the classifier."""
    return ResNetRow(
        year=2015,
        paper="1512.03385",
        input_size=(3, 32, 32),
        num_classes=10,
        depths=((depth - 2) // 6,) * 3,
        cifar=True,
        shortcut=shortcut,
    )


VARIANTS: dict[str, ResNetRow] = {
    #                              bottleneck  blocks a stage   groups  width
    "resnet18": _imagenet(False, (2, 2, 2, 2)),
    "resnet34": _imagenet(False, (3, 4, 6, 3)),
    "resnet50": _imagenet(True, (3, 4, 6, 3)),
    "resnet50_v1": replace(_imagenet(True, (3, 4, 6, 3)), v1=True),
    "resnet101": _imagenet(True, (3, 4, 23, 3)),
    "resnet152": _imagenet(True, (3, 8, 36, 3)),
    "resnext50_32x4d": _resnext((3, 4, 6, 3), 32, 4),
    "resnext101_32x8d": _resnext((3, 4, 23, 3), 32, 8),
    "resnext101_64x4d": _resnext((3, 4, 23, 3), 64, 4),
    "wide_resnet50_2": _wide((3, 4, 6, 3)),
    "wide_resnet101_2": _wide((3, 4, 23, 3)),
    "seresnet50": _squeezed((3, 4, 6, 3)),
    # section 4.2: CIFAR-10, with shortcuts of option A, and plain
    **{f"resnet{depth}": _cifar(depth) for depth in (20, 32, 44, 56, 110)},
    **{f"plain{depth}": _cifar(depth, shortcut=None) for depth in (20, 32, 44, 56)},
}

FAMILY = Family(
    name="resnet",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    options={
        "zero_init": Option(False, "start the scale of each branch's last norm at zero"),
    },
    sources={"torchvision": Source(from_torchvision), "timm": Source(from_torchvision)},
)
