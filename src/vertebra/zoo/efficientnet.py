"""EfficientNet: depth, width and resolution scaled together.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019,
arXiv:1905.11946. The lite networks are the authors' later variant for phones, published as code
(tensorflow/tpu, models/official/efficientnet/lite): without squeeze-and-excitation, with ReLU6, and
with stem, head and the depth of the first and last line left unscaled.

The paper gives a rule for scaling (section 3.3, equation 3), but b1 to b7 are not what it gives:
their coefficients stand in the authors' code alone. Both are here: b0 to b7 with the released
coefficients, ``efficientnet`` with the rule itself and the option ``phi``.

Batch norm is torchvision's: eps 1e-5 and momentum 0.1, from b5 on 1e-3 and 0.01. The authors have
the latter everywhere, timm the former.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from vertebra.anatomy.arithmetic import compound_scale, scaled_depth
from vertebra.core import VertebraError
from vertebra.nn import (
    Backbone,
    InitRule,
    LinearHead,
    NormAct,
    SqueezeExcite,
    round_channels,
)
from vertebra.nn.init import he_rule, uniform_by_rows
from vertebra.zoo.family import Family, Option, Request, Row, Source, StateDict
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

# Table 1: the first and the last convolution, and the MBConv blocks between them.
STEM, LAST = 32, 1280
TABLE_1 = (
    #  t   c  n  s  k
    Line(1, 16, 1, 1, 3),
    Line(6, 24, 2, 2, 3),
    Line(6, 40, 2, 2, 5),
    Line(6, 80, 3, 2, 3),
    Line(6, 112, 3, 1, 5),
    Line(6, 192, 4, 2, 5),
    Line(6, 320, 1, 1, 3),
)
RESOLUTION = 224
PHI_LIMIT = 16  # each unit doubles the work


@dataclass(frozen=True, kw_only=True)
class EfficientNetRow(Row):
    """``width`` and ``depth`` multiply table 1; ``lite`` as in this module's docstring.

    ``by_rule`` marks the row whose coefficients come from ``phi``. Drop-path rises from 0 at the
    first block and would reach ``drop_path`` one block after the last.
    """

    width: float
    depth: float
    lite: bool = False
    by_rule: bool = False
    eps: float = 1e-5
    momentum: float = 0.1
    year: int = 2019
    paper: str = "1905.11946"
    dropout: float = 0.2
    drop_path: float = 0.2

    @property
    def unit(self) -> NormAct:
        """Norm and activation of every convolution."""
        return NormAct(nn.ReLU6 if self.lite else nn.SiLU, self.eps, self.momentum)


def specialise(row: EfficientNetRow, options: Mapping[str, Any]) -> EfficientNetRow:
    """The row that the compound scaling rule gives for the option ``phi``.

    The resolution is rounded to whole pixels; channels and depths are rounded as in every row.

    Raises:
        VertebraError: ``phi`` for a row with coefficients of its own, or out of range.
    """
    phi = options["phi"]
    if not row.by_rule:
        if phi:
            raise VertebraError(
                "option 'phi' is for the model efficientnet only: b0 to b7 and lite0 to lite4 have "
                "coefficients of their own"
            )
        return row
    if not -PHI_LIMIT <= phi <= PHI_LIMIT:
        raise VertebraError(
            f"option 'phi' of efficientnet takes -{PHI_LIMIT} to {PHI_LIMIT}, got {phi}"
        )
    scale = compound_scale(phi)
    size = round(RESOLUTION * scale.resolution)
    return replace(row, width=scale.width, depth=scale.depth, input_size=(3, size, size))


def plan(row: EfficientNetRow) -> list[Block]:
    """The blocks of table 1, scaled: channels to multiples of 8, depths up to whole blocks.

    Squeeze-and-excitation has a quarter of the block's input channels inside, before widening.
    """
    kept = (TABLE_1[0], TABLE_1[-1]) if row.lite else ()
    lines = [
        replace(
            line,
            channels=round_channels(line.channels * row.width),
            repeats=line.repeats if line in kept else scaled_depth(line.repeats, row.depth),
        )
        for line in TABLE_1
    ]
    stem = STEM if row.lite else round_channels(STEM * row.width)
    blocks = blocks_of(lines, stem, row.unit)
    if row.lite:
        return blocks
    return [replace(block, squeezed=block.in_chans // 4) for block in blocks]


def build(name: str, row: EfficientNetRow, request: Request) -> Backbone:
    """Build one row of the table."""
    blocks = plan(row)
    last = LAST if row.lite else round_channels(LAST * row.width)
    return Backbone(
        name=name,
        stem=row.unit.conv(request.in_chans, blocks[0].in_chans, 3, stride=2),
        stem_stride=2,
        stages=build_stages(
            blocks,
            request.drop_path,
            reaches_rate=False,
            squeeze=partial(SqueezeExcite, act=nn.SiLU),
        ),
        head=LinearHead(
            last,
            request.num_classes,
            request.dropout,
            before=row.unit.conv(blocks[-1].out_chans, last, 1),
        ),
        num_classes=request.num_classes,
        input_size=request.input_size,
    )


def init_rule(row: EfficientNetRow, request: Request) -> InitRule:
    """He initialisation by fan-out and U(-1/sqrt(n), 1/sqrt(n)) for n classes, as torchvision.

    For the lite networks, which torchvision lacks, timm's, which is also the authors': the same by
    group.
    """
    return he_rule(uniform_by_rows, by_group=row.lite)


def from_torchvision(row: EfficientNetRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename torchvision's state dict to ours: blocks lie by the line of table 1 there."""
    names = {
        **unit_names("features.0", "stem"),
        **torchvision_names(plan(row), "features.{group}.{place}.block"),
        **unit_names(f"features.{len(TABLE_1) + 1}", "head.before"),
        "classifier.1": "head.fc",  # 0 is the dropout
    }
    return by_prefix(state_dict, names)


def from_timm(row: EfficientNetRow, state_dict: StateDict) -> dict[str, Tensor]:
    """Rename timm's state dict to ours."""
    return by_prefix(state_dict, timm_names(plan(row)))


def _row(width: float, depth: float, resolution: int, dropout: float) -> EfficientNetRow:
    return EfficientNetRow(
        width=width, depth=depth, input_size=(3, resolution, resolution), dropout=dropout
    )


def _tf(row: EfficientNetRow) -> EfficientNetRow:
    """With the authors' batch norm: torchvision took b5 to b7 over from their weights."""
    return replace(row, eps=1e-3, momentum=0.01)


def _lite(row: EfficientNetRow) -> EfficientNetRow:
    return replace(row, lite=True, year=2020)


VARIANTS: dict[str, EfficientNetRow] = {
    #                     width depth resolution dropout
    "efficientnet_b0": _row(1.0, 1.0, 224, 0.2),
    "efficientnet_b1": _row(1.0, 1.1, 240, 0.2),
    "efficientnet_b2": _row(1.1, 1.2, 260, 0.3),
    "efficientnet_b3": _row(1.2, 1.4, 300, 0.3),
    "efficientnet_b4": _row(1.4, 1.8, 380, 0.4),
    "efficientnet_b5": _tf(_row(1.6, 2.2, 456, 0.4)),
    "efficientnet_b6": _tf(_row(1.8, 2.6, 528, 0.5)),
    "efficientnet_b7": _tf(_row(2.0, 3.1, 600, 0.5)),
    "efficientnet_lite0": _lite(_row(1.0, 1.0, 224, 0.2)),
    "efficientnet_lite1": _lite(_row(1.0, 1.1, 240, 0.2)),
    "efficientnet_lite2": _lite(_row(1.1, 1.2, 260, 0.3)),
    "efficientnet_lite3": _lite(_row(1.2, 1.4, 280, 0.3)),
    "efficientnet_lite4": _lite(_row(1.4, 1.8, 300, 0.3)),
    # scaled by the option phi; as it stands the same network as b0
    "efficientnet": replace(_row(1.0, 1.0, RESOLUTION, 0.2), by_rule=True, timm="efficientnet_b0"),
}

FAMILY = Family(
    name="efficientnet",
    variants=VARIANTS,
    build=build,
    init=init_rule,
    options={
        "phi": Option(
            0.0, "scale efficientnet by 1.2^phi in depth, 1.1^phi in width, 1.15^phi in resolution"
        ),
    },
    sources={
        "torchvision": Source(from_torchvision, norm=lambda row: (row.eps, row.momentum)),
        "timm": Source(from_timm, norm=lambda row: (1e-5, 0.1)),
    },
    specialise=specialise,
)
