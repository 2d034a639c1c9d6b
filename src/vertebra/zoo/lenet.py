"""LeNet-5, the convolutional network that read cheques.

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE 86(11), 1998, section II.B.

``lenet5`` follows the paper through F6: trainable subsampling, the sparse connections of table I in
C3, the scaled hyperbolic tangent. Its last layer departs: the paper compares F6 with fixed 7x12
bitmaps of the ten characters by radial basis functions, here it is a linear layer.
``lenet5_dense`` is what is usually called LeNet-5 today: average pooling, a dense C3 and tanh.

Unpadded convolutions: a map is smaller than input size / reduction by the border that they lose
(28, 10 and 1 pixels of 32), and only 32x32 images fit.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vertebra.core import VertebraError
from vertebra.nn import Backbone, Head, InitRule, Stage
from vertebra.zoo.family import Family, Request, Row

# Table I: the maps of S2 that each map of C3 sees, in the order of its columns.
TABLE_I = (
    *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),
    *((i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6) for i in range(6)),
    *((i, (i + 1) % 6, (i + 3) % 6, (i + 4) % 6) for i in range(3)),
    (0, 1, 2, 3, 4, 5),
)


@dataclass(frozen=True, kw_only=True)
class LeNetRow(Row):
    """``faithful`` says whether subsampling, C3 and the activation are the paper's."""

    faithful: bool
    year: int = 1998
    paper: str = "doi:10.1109/5.726791"
    input_size: tuple[int, int, int] = (1, 32, 32)
    num_classes: int = 10


class ScaledTanh(nn.Module):
    """``1.7159 * tanh(2 / 3 * x)``, so that f(1) = 1 and f(-1) = -1 (appendix A).

    Shapes: any -> the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same."""
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsample(nn.Module):
    """Sum over 2x2, times a trainable coefficient plus a bias a map (layers S2 and S4).

    The paper's squashing function follows as a layer of its own. The sum is written as four times
    the mean.

    Shapes: (N, C, H, W) -> (N, C, H / 2, W / 2).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2)
        self.weight = nn.Parameter(torch.empty(channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H / 2, W / 2)."""
        pooled: Tensor = 4 * self.pool(x)
        return pooled * self.weight + self.bias


class SparseConv(nn.Module):
    """5x5 convolution whose output maps each see only some input maps: C3 with table I.

    Runs as one grouped convolution for each number of maps seen (three, four and six), so that
    parameters and arithmetic are those of the 60 connections in the table and not of a dense 6x16.

    Shapes: (N, 6, H, W) -> (N, 16, H - 4, W - 4).
    """

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        # Plain lists and no buffers: the table is not a state, and survives a build on meta.
        self.maps: list[list[int]] = []
        for seen in sorted({len(maps) for maps in TABLE_I}):
            columns = [maps for maps in TABLE_I if len(maps) == seen]
            self.convs.append(nn.Conv2d(seen * len(columns), len(columns), 5, groups=len(columns)))
            self.maps.append([m for maps in columns for m in maps])

    def forward(self, x: Tensor) -> Tensor:
        """(N, 6, H, W) -> (N, 16, H - 4, W - 4)."""
        outs = []
        for maps, conv in zip(self.maps, self.convs, strict=True):
            outs.append(conv(x.index_select(1, torch.tensor(maps, device=x.device))))
        return torch.cat(outs, dim=1)


class OnlyImages32(nn.Module):
    """The identity for the one size of which C5 leaves one pixel.

    Shapes: (N, C, 32, 32) -> the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, 32, 32) -> the same.

        Raises:
            VertebraError: the image has another size.
        """
        if x.shape[-2:] != (32, 32):
            raise VertebraError(f"LeNet-5 takes 32x32 images only, got {tuple(x.shape)}")
        return x


class LeNetHead(Head):
    """F6 (84 units) and the classifier.

    Shapes: (N, 120, 1, 1) -> (N, num_classes); ``embed`` gives F6.
    """

    def __init__(self, act: nn.Module, num_classes: int, dropout: float) -> None:
        super().__init__(84, num_classes, dropout)
        self.f6 = nn.Linear(120, 84)
        self.act = act

    def embed(self, x: Tensor) -> Tensor:
        """(N, 120, 1, 1) -> (N, 84)."""
        activated: Tensor = self.act(self.f6(x.flatten(1)))
        return activated


def build(name: str, row: LeNetRow, request: Request) -> Backbone:
    """Build one row of the table.

    Raises:
        VertebraError: an input other than 32x32, or drop-path, which needs residual branches.
    """
    if request.input_size[1:] != (32, 32):
        raise VertebraError(f"{name} takes 32x32 images only, got {request.input_size[1:]}")
    request.refuse_drop_path(name)
    act: type[nn.Module] = ScaledTanh if row.faithful else nn.Tanh
    c3 = SparseConv() if row.faithful else nn.Conv2d(6, 16, 5)

    def subsample(channels: int) -> list[nn.Module]:
        return [Subsample(channels), act()] if row.faithful else [nn.AvgPool2d(2)]

    return Backbone(
        name=name,
        stem=OnlyImages32(),
        # One stage up to each map that a subsampling would shrink: C1; S2, C3; S4, C5.
        stages=[
            Stage([nn.Conv2d(request.in_chans, 6, 5), act()], 6, name="C1"),
            Stage([*subsample(6), c3, act()], 16, stride=2, name="C3"),
            Stage([*subsample(16), nn.Conv2d(16, 120, 5), act()], 120, stride=2, name="C5"),
        ],
        head=LeNetHead(act(), request.num_classes, request.dropout),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def init_rule(row: LeNetRow, request: Request) -> InitRule:
    """U(-2.4 / F, 2.4 / F) for fan-in F (appendix A); a subsampling starts as the mean."""

    def rule(
        path: str, module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator
    ) -> None:
        if isinstance(module, Subsample):
            parameter.fill_(0.25 if name == "weight" else 0.0)
            return
        fan_in = module.get_parameter("weight")[0].numel()
        nn.init.uniform_(parameter, -2.4 / fan_in, 2.4 / fan_in, generator=generator)

    return rule


FAMILY = Family(
    name="lenet",
    variants={
        "lenet5": LeNetRow(faithful=True),
        "lenet5_dense": LeNetRow(faithful=False),
    },
    build=build,
    init=init_rule,
)
