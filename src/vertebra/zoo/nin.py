"""Network in network: small perceptrons slid over the image, and global average pooling.

Lin, Chen and Yan, "Network In Network", 2013, arXiv:1312.4400. Both networks are those of the
authors' Caffe release: ``nin`` for CIFAR-10 (966 986 parameters), and ``nin_imagenet`` (7 595 176),
which the paper does not have.

Where paper and release differ, this is the release. The paper pools by the maximum after each
mlpconv layer (section 4.1), and so does the authors' first configuration; the release takes the
average after the second in ``nin``. Section 4.1 has dropout after all mlpconv layers but the last,
``nin_imagenet`` after the third only. The ReLU after the last convolution, for which no logit is
negative, is in both: the paper's equation 2 has it in every layer.

Poolings round up, as Caffe has it, and average over the pixels that are there: 32 pixels become 16
and 8. The first convolution of ``nin_imagenet`` has no padding, so its maps are smaller than input
size / reduction, by two pixels of 56 at 224 and by one pixel further on.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vertebra.nn import Backbone, ConvAct, InitRule, LinearHead, Stage
from vertebra.zoo.family import Family, Request, Row


@dataclass(frozen=True)
class Mlpconv:
    """One mlpconv layer and what lies before it.

    ``widths`` are the channels of a convolution with ``kernel``, ``stride`` and ``padding``, and of
    the 1x1 convolutions behind it: the layers of the perceptron. ``pool`` and ``dropout`` come
    before. The convolution's weights start with deviation ``std``, those of the 1x1s with 0.05.
    """

    widths: tuple[int, ...]
    kernel: int
    stride: int = 1
    padding: int = 0
    pool: type[nn.MaxPool2d] | type[nn.AvgPool2d] | None = None
    dropout: bool = False
    std: float = 0.05


@dataclass(frozen=True, kw_only=True)
class NINRow(Row):
    """The mlpconv layers in order; the last one's last 1x1 convolution is the classifier.

    ``classifier_std`` is the deviation of the classifier's initial weights.
    """

    layers: tuple[Mlpconv, ...]
    classifier_std: float = 0.05
    year: int = 2013
    paper: str = "1312.4400"
    dropout: float = 0.5


class ClassMapHead(LinearHead):
    """One map for each class, whose mean is the logit (section 3.2).

    ``fc`` is the last 1x1 convolution, so unlike elsewhere it comes before the pooling. ``embed``
    pools what it takes.

    Shapes: (N, num_features, H, W) -> (N, num_classes).
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        # The published nets drop nothing here; reset_head can.
        super().__init__(num_features, num_classes, dropout=0.0)
        # Not in place: without classes its input is the last stage's map.
        self.act = nn.ReLU()

    def make_classifier(self, num_classes: int) -> nn.Module:
        """A fresh 1x1 convolution, the identity for 0 classes."""
        return nn.Conv2d(self.num_features, num_classes, 1) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_features, H, W) -> (N, num_classes), none negative."""
        logits: Tensor = self.pool(self.act(self.fc(self.dropout(x)))).flatten(1)
        return logits


def make_stage(layer: Mlpconv, in_chans: int, dropout: float) -> Stage:
    """Pooling and dropout where ``layer`` has them, then its convolutions (equation 2).

    Shapes: (N, in_chans, H, W) -> (N, layer.widths[-1], H', W').
    """
    blocks: list[nn.Module] = []
    if layer.pool is not None:
        blocks.append(layer.pool(3, stride=2, ceil_mode=True))
    if layer.dropout:
        blocks.append(nn.Dropout(dropout))
    first, *others = layer.widths
    blocks.append(ConvAct(in_chans, first, layer.kernel, layer.stride, padding=layer.padding))
    for before, after in zip(layer.widths, others, strict=False):
        blocks.append(ConvAct(before, after, 1))
    return Stage(blocks, layer.widths[-1], layer.stride * (2 if layer.pool else 1))


def build(name: str, row: NINRow, request: Request) -> Backbone:
    """Build one row of the table.

    Raises:
        VertebraError: drop-path, which needs residual branches.
    """
    request.refuse_drop_path(name)
    channels = request.in_chans
    stages: list[Stage] = []
    for layer in row.layers:
        stages.append(make_stage(layer, channels, request.dropout))
        channels = stages[-1].channels
    return Backbone(
        name=name,
        stem=nn.Identity(),
        stages=stages,
        head=ClassMapHead(channels, request.num_classes),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def init_rule(row: NINRow, request: Request) -> InitRule:
    """Normal weights and no bias, as the authors' release has it: N(0, 0.05^2) or N(0, 0.01^2)."""

    def rule(
        path: str, module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator
    ) -> None:
        part, stage = path.split(".")[:2]
        std = 0.05
        if part == "head":
            std = row.classifier_std
        elif isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
            std = row.layers[int(stage)].std
        if name == "bias":
            parameter.zero_()
        else:
            nn.init.normal_(parameter, std=std, generator=generator)

    return rule


VARIANTS: dict[str, NINRow] = {
    "nin": NINRow(
        input_size=(3, 32, 32),
        num_classes=10,
        smallest=4,
        layers=(
            Mlpconv((192, 160, 96), 5, padding=2),
            Mlpconv((192, 192, 192), 5, padding=2, pool=nn.MaxPool2d, dropout=True),
            Mlpconv((192, 192), 3, padding=1, pool=nn.AvgPool2d, dropout=True),
        ),
    ),
    "nin_imagenet": NINRow(
        smallest=39,
        classifier_std=0.01,
        layers=(
            Mlpconv((96, 96, 96), 11, stride=4, std=0.01),
            Mlpconv((256, 256, 256), 5, padding=2, pool=nn.MaxPool2d),
            Mlpconv((384, 384, 384), 3, padding=1, pool=nn.MaxPool2d, std=0.01),
            Mlpconv((1024, 1024), 3, padding=1, pool=nn.MaxPool2d, dropout=True),
        ),
    ),
}

FAMILY = Family(name="nin", variants=VARIANTS, build=build, init=init_rule)
