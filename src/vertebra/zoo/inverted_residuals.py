"""What the networks made of inverted residuals share: MobileNetV2, MobileNetV3, EfficientNet.

A family turns its paper's table into a plan, one :class:`Block` of plain numbers each. Everything
else follows from the plan: the stages, what is said of them, and what torchvision and timm call
the same layers.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import nn

from vertebra.nn import InvertedResidual, NormAct, SqueezeExcite, Stage, drop_path_rates

# (channels, width inside) -> squeeze-and-excitation.
MakeSqueeze = Callable[[int, int], nn.Module]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One inverted residual in numbers.

    ``group`` is the line of the paper's table that it comes from, ``place`` its place among the
    blocks of that line, both from 0. ``squeezed`` is the width inside squeeze-and-excitation, 0
    where there is none.
    """

    group: int
    place: int
    in_chans: int
    expanded: int
    out_chans: int
    kernel: int
    stride: int
    unit: NormAct
    squeezed: int = 0

    @property
    def parts(self) -> list[str]:
        """The parts of our module that have weights, in the order in which they run."""
        present = {
            "expand": self.expanded != self.in_chans,
            "depthwise": True,
            "squeeze": self.squeezed > 0,
            "project": True,
        }
        return [part for part, here in present.items() if here]


@dataclass(frozen=True)
class Line:
    """One line of a table: ``repeats`` blocks that widen ``expand`` times.

    The first of them has the ``stride``, all give ``channels``.
    """

    expand: int
    channels: int
    repeats: int
    stride: int
    kernel: int = 3


def blocks_of(lines: Iterable[Line], in_chans: int, unit: NormAct) -> list[Block]:
    """The blocks of a table whose first line takes ``in_chans``."""
    blocks: list[Block] = []
    for group, line in enumerate(lines):
        for place in range(line.repeats):
            block = Block(
                group=group,
                place=place,
                in_chans=in_chans,
                expanded=line.expand * in_chans,
                out_chans=line.channels,
                kernel=line.kernel,
                stride=line.stride if place == 0 else 1,
                unit=unit,
            )
            blocks.append(block)
            in_chans = block.out_chans
    return blocks


def by_stage(blocks: Iterable[Block]) -> list[list[Block]]:
    """The blocks in stages of one resolution: each block that strides begins one."""
    stages: list[list[Block]] = []
    for block in blocks:
        if block.stride > 1 or not stages:
            stages.append([])
        stages[-1].append(block)
    return stages


def build_stages(
    blocks: Iterable[Block],
    drop_path: float,
    *,
    reaches_rate: bool = True,
    squeeze: MakeSqueeze = SqueezeExcite,
) -> list[Stage]:
    """The blocks by stage; ``drop_path`` and ``reaches_rate`` as :func:`drop_path_rates` says."""
    stages = by_stage(blocks)
    rates = drop_path_rates(drop_path, [len(stage) for stage in stages], reaches_rate)
    built: list[Stage] = []
    for stage, stage_rates in zip(stages, rates, strict=True):
        pairs = zip(stage, stage_rates, strict=True)
        modules = [build_block(block, rate, squeeze) for block, rate in pairs]
        built.append(Stage(modules, stage[-1].out_chans, stage[0].stride))
    return built


def build_block(block: Block, drop_path: float, squeeze: MakeSqueeze) -> InvertedResidual:
    """The module of one block."""
    return InvertedResidual(
        block.in_chans,
        block.expanded,
        block.out_chans,
        block.kernel,
        block.stride,
        block.unit,
        squeeze(block.expanded, block.squeezed) if block.squeezed else None,
        drop_path,
    )


def unit_names(theirs: str, ours: str) -> dict[str, str]:
    """torchvision's unit, a Sequential of convolution and norm, to ours."""
    return {f"{theirs}.0": f"{ours}.conv", f"{theirs}.1": f"{ours}.norm"}


def torchvision_names(
    blocks: Iterable[Block], path: str, unit_of_projection: bool = True
) -> dict[str, str]:
    """Prefixes of the blocks in torchvision, which numbers what stands in a block.

    ``path`` says where a block lies: "{index}" is its number in the network, "{group}" that of its
    group, both from 1, since 0 is the stem; "{place}" is its place in the group, from 0.
    Without ``unit_of_projection`` the last convolution and its norm are numbered by themselves.
    """
    names: dict[str, str] = {}
    for index, (ours, block) in enumerate(_our_paths(blocks), start=1):
        theirs = path.format(index=index, group=block.group + 1, place=block.place)
        for number, part in enumerate(block.parts):
            if part == "squeeze":
                names[f"{theirs}.{number}.fc1"] = f"{ours}.squeeze.reduce"
                names[f"{theirs}.{number}.fc2"] = f"{ours}.squeeze.expand"
            elif part == "project" and not unit_of_projection:
                names[f"{theirs}.{number}"] = f"{ours}.project.conv"
                names[f"{theirs}.{number + 1}"] = f"{ours}.project.norm"
            else:
                names |= unit_names(f"{theirs}.{number}", f"{ours}.{part}")
    return names


def timm_names(blocks: Iterable[Block]) -> dict[str, str]:
    """Prefixes in timm, where blocks lie by group and only their norms are numbered.

    A block without widening is of another class there: its only pointwise convolution has the name
    that widening has in the others. What stands before and behind the blocks comes along.
    """
    names = {
        "conv_stem": "stem.conv",
        "bn1": "stem.norm",
        "conv_head": "head.before.conv",
        "bn2": "head.before.norm",
        "classifier": "head.fc",
    }
    for ours, block in _our_paths(blocks):
        theirs = f"blocks.{block.group}.{block.place}"
        convs = {"expand": "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl"}
        if "expand" not in block.parts:
            convs = {"depthwise": "conv_dw", "project": "conv_pw"}
        for number, (part, conv) in enumerate(convs.items(), start=1):
            names[f"{theirs}.{conv}"] = f"{ours}.{part}.conv"
            names[f"{theirs}.bn{number}"] = f"{ours}.{part}.norm"
        names[f"{theirs}.se.conv_reduce"] = f"{ours}.squeeze.reduce"
        names[f"{theirs}.se.conv_expand"] = f"{ours}.squeeze.expand"
    return names


def _our_paths(blocks: Iterable[Block]) -> Iterator[tuple[str, Block]]:
    """Every block with where it lies in our networks, in the order in which they run."""
    for stage, members in enumerate(by_stage(blocks)):
        for place, block in enumerate(members):
            yield f"stages.{stage}.{place}", block
