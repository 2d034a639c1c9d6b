"""The one face of every network in the zoo."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from vertebra.core import Preprocessing, VertebraError
from vertebra.core.preprocessing import channel_statistics
from vertebra.nn.head import Head
from vertebra.nn.recompute import recompute


@dataclass(frozen=True)
class StageInfo:
    """What :meth:`Backbone.features` promises of one stage.

    ``reduction`` is the product of the strides so far: a map is the input's size divided by it,
    within one pixel. Nets with unpadded convolutions lose a border besides and say so in their own
    docstring.
    """

    name: str
    channels: int
    reduction: int


@dataclass(frozen=True)
class Stage:
    """One stage as a family builds it.

    ``blocks`` run one after the other and give a map of ``channels``, ``stride`` times smaller than
    what they take. ``name`` is "stage1", "stage2", ... if it is not given.
    """

    blocks: Sequence[nn.Module]
    channels: int
    stride: int = 1
    name: str = ""


@dataclass(frozen=True)
class Outputs:
    """What a training forward gives: logits (N, num_classes), and such of each auxiliary head.

    The loss of each auxiliary head counts ``aux_weight`` times beside that of the logits.
    """

    logits: Tensor
    aux: tuple[Tensor, ...] = ()
    aux_weight: float = 0.0


@dataclass(frozen=True)
class Auxiliary:
    """A second classifier, for training only, on what block ``block`` of a stage gives."""

    stage: int
    block: int
    head: Head


class Backbone(nn.Module):
    """A network in three parts: ``stem``, ``stages`` (one module each) and ``head``.

    The builder of a family computes the parts; this class only holds and runs them. A stage is a
    ``nn.Sequential`` of blocks; its map is what the next stage takes, so a norm that only the
    classifier needs is the head's. ``stem_stride`` is how many times smaller than the image the
    stem's map is.

    Attributes:
        name: the architecture's name in the zoo.
        stage_info: one :class:`StageInfo` a stage.
        num_features: width of what :meth:`embed` returns.
        num_classes: width of the logits; 0 when there is no head.
        input_size: (channels, height, width) that the network was designed for.
        smallest: the least height and width of an image that leaves a pixel in every stage's map;
            1 where unknown, for timm's networks. The head may need more: ``head.smallest``.
        aux: the heads that only :meth:`forward_train` runs; often none.
        aux_weight: how often the loss of each of them counts.
        options: the family's switches that it was built with.
        notes: what was adapted when weights were loaded, one sentence each.
    """

    aux_places: tuple[tuple[int, int], ...]

    def __init__(
        self,
        name: str,
        stem: nn.Module,
        stages: Sequence[Stage],
        head: Head,
        num_classes: int,
        input_size: tuple[int, int, int],
        *,
        stem_stride: int = 1,
        auxiliaries: Sequence[Auxiliary] = (),
        aux_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self._describe(name, _stage_info(stages, stem_stride), num_classes, input_size)
        self.stem = stem
        self.stages = nn.ModuleList(nn.Sequential(*stage.blocks) for stage in stages)
        self.head = head
        self.aux.extend(auxiliary.head for auxiliary in auxiliaries)
        self.aux_places = tuple((auxiliary.stage, auxiliary.block) for auxiliary in auxiliaries)
        self.aux_weight = aux_weight

    def _describe(
        self,
        name: str,
        stage_info: Sequence[StageInfo],
        num_classes: int,
        input_size: tuple[int, int, int],
    ) -> None:
        """Set what is plain data, and no auxiliary heads."""
        self.name = name
        self.stage_info = tuple(stage_info)
        self.num_classes = num_classes
        self.input_size = input_size
        self.smallest = 1
        self.aux = nn.ModuleList()
        self.aux_places = ()
        self.aux_weight = 0.0
        self.options: Mapping[str, Any] = {}
        self.notes: tuple[str, ...] = ()
        self._grad_checkpointing = False
        self._preprocessing: Preprocessing | None = None

    @property
    def num_features(self) -> int:
        """Width of the pooled vector."""
        return self.head.num_features

    @property
    def pool_name(self) -> str:
        """The head's pooling, one of ``head.pools``; "" where it is none of them."""
        return self.head.pool_name

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, num_classes); the pooled vector without a head.

        Raises:
            VertebraError: images too small for stages or head; so do all methods that need both.
        """
        logits: Tensor = self.head(self._last_map(x))
        return logits

    def forward_train(self, x: Tensor) -> Outputs:
        """Images (N, C, H, W) -> :class:`Outputs`, with auxiliary logits where there are any."""
        if not self.aux:
            return Outputs(self(x))
        check_images(self.name, self._smallest, x.shape)
        x = self.stem(x)
        aux: list[Tensor] = []
        for place, block in self._blocks():
            x = self._run_block(block, x)
            if place in self.aux_places:
                aux.append(self.aux[self.aux_places.index(place)](x))
        return Outputs(self.head(x), tuple(aux), self.aux_weight)

    def embed(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> pooled vectors (N, num_features), before dropout."""
        return self.head.embed(self._last_map(x))

    def features(self, x: Tensor, out_stages: Sequence[int] | None = None) -> list[Tensor]:
        """Images (N, C, H, W) -> one map (N, channels, H', W') a stage, in order.

        ``out_stages`` picks some by index (negative ones count from the end); the network runs no
        further than the last one asked for.

        Raises:
            VertebraError: an index names no stage, or the images are too small for all stages.
        """
        wanted = self._stage_indices(out_stages)
        whole = len(self.stages) - 1 in wanted  # the first stages are content with less
        check_images(self.name, self.smallest if whole else 1, x.shape)
        image_size = (x.shape[-2], x.shape[-1])
        maps: dict[int, Tensor] = {}
        x = self.stem(x)
        for index, stage in enumerate(self.stages[: max(wanted, default=-1) + 1]):
            x = self._run_stage(stage, x)
            if index in wanted:
                maps[index] = self.to_map(x, image_size)
        return [maps[index] for index in wanted]

    def to_map(self, x: Tensor, image_size: tuple[int, int]) -> Tensor:
        """What a stage gives, for images of (height, width), as a map (N, channels, H', W').

        The identity, but for networks whose stages pass tokens on.
        """
        return x

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only the input of each block in training and compute the rest twice.

        Saves memory, costs about one more forward; the numbers stay the same (arXiv:1604.06174).
        """
        self._grad_checkpointing = enable

    @property
    def _smallest(self) -> int:
        """For stages and head."""
        return max(self.smallest, self.head.smallest)

    def check_input_size(self) -> None:
        """Refuse an ``input_size`` of which stages or head would leave nothing.

        Raises:
            VertebraError: it is too small.
        """
        check_images(self.name, self._smallest, (1, *self.input_size))

    def _last_map(self, x: Tensor) -> Tensor:
        check_images(self.name, self._smallest, x.shape)
        x = self.stem(x)
        for stage in self.stages:
            x = self._run_stage(stage, x)
        return x

    def _blocks(self) -> Iterator[tuple[tuple[int, int], nn.Module]]:
        """Every block with its (stage, place in the stage)."""
        for index, stage in enumerate(self.stages):
            for place, block in enumerate(stage.children()):
                yield (index, place), block

    @property
    def _recomputes(self) -> bool:
        return self._grad_checkpointing and self.training and torch.is_grad_enabled()

    def _run_stage(self, stage: nn.Module, x: Tensor) -> Tensor:
        if not self._recomputes:
            out: Tensor = stage(x)
            return out
        for block in stage.children():
            x = self._run_block(block, x)
        return x

    def _run_block(self, block: nn.Module, x: Tensor) -> Tensor:
        out: Tensor = recompute(block, x) if self._recomputes else block(x)
        return out

    def _stage_indices(self, out_stages: Sequence[int] | None) -> list[int]:
        count = len(self.stage_info)
        if out_stages is None:
            return list(range(count))
        for index in out_stages:
            if type(index) is not int:
                raise VertebraError(f"out_stages takes stages by their number, got {index!r}")
            if not -count <= index < count:
                raise VertebraError(f"{self.name} has stages 0 to {count - 1}, no stage {index}")
        return [index % count for index in out_stages]

    def reset_head(
        self, num_classes: int, pool: str | None = None, dropout: float | None = None
    ) -> None:
        """Replace the last layer by a fresh one for ``num_classes`` classes (0: none).

        Auxiliary heads get one too. The numbers come from PyTorch's global generator.

        Args:
            num_classes: width of the logits.
            pool: another pooling before the last layer, one of ``head.pools``; None keeps it. Where
                the head flattens maps into fully connected layers, these go.
            dropout: rate of the head's dropout; None keeps the present rate.

        Raises:
            VertebraError: a negative number of classes, a rate outside [0, 1), or a pooling that
                the head does not know.
        """
        self._check_head(num_classes, dropout)
        like = next(self.stages.parameters())
        self.head = self.head.reset(num_classes, dropout, pool, like)
        for place, head in enumerate(self.aux):
            assert isinstance(head, Head)
            self.aux[place] = head.reset(num_classes, None, None, like)
        self.num_classes = num_classes

    def _check_head(self, num_classes: int, dropout: float | None) -> None:
        if num_classes < 0:
            raise VertebraError(f"num_classes must be 0 or more, got {num_classes}")
        if dropout is not None and not 0 <= dropout < 1:
            raise VertebraError(f"dropout must be at least 0 and below 1, got {dropout}")

    @property
    def preprocessing(self) -> Preprocessing:
        """The evaluation transform that belongs to the loaded weights.

        Without loaded weights: the network's own input size out of a shorter side 8/7 as long (256
        for 224), as ImageNet is evaluated; small inputs (below 128 pixels) are taken whole.
        """
        if self._preprocessing is not None:
            return self._preprocessing
        channels, size = self.input_size[0], self.input_size[1]
        mean, std = channel_statistics(channels)
        return Preprocessing(size, size * 8 // 7 if size >= 128 else size, mean, std)

    @preprocessing.setter
    def preprocessing(self, value: Preprocessing) -> None:
        self._preprocessing = value

    def parts(self) -> Iterator[tuple[str, str]]:
        """(name, path) of the modules that a summary of the network lists."""
        yield "stem", "stem"
        for index, info in enumerate(self.stage_info):
            yield info.name, f"stages.{index}"
        yield "head", "head"

    def classifiers(self) -> list[str]:
        """Paths of the last layers: what changes with the number of classes."""
        return ["head.fc", *(f"aux.{place}.fc" for place in range(len(self.aux)))]

    def input_layers(self) -> list[str]:
        """Paths of the convolutions that take the image: the first one of stem and stages."""
        return [
            next(
                f"{part}.{path}"
                for part in ("stem", "stages")
                for path, module in self.get_submodule(part).named_modules()
                if isinstance(module, nn.Conv2d)
            ).rstrip(".")
        ]

    def layer_groups(self) -> list[tuple[str, list[nn.Parameter]]]:
        """Parameters from input to output: the stem, each block of each stage, the heads.

        For layer-wise learning rates. Auxiliary heads come before the head.
        """
        parts: list[tuple[str, nn.Module]] = [("stem", self.stem)]
        parts += [(f"stages.{stage}.{block}", module) for (stage, block), module in self._blocks()]
        parts += [(f"aux.{place}", head) for place, head in enumerate(self.aux)]
        parts.append(("head", self.head))
        groups = [(name, list(part.parameters())) for name, part in parts]
        return [(name, parameters) for name, parameters in groups if parameters]


def _stage_info(stages: Sequence[Stage], stem_stride: int) -> list[StageInfo]:
    reductions = accumulate((stage.stride for stage in stages), mul, initial=stem_stride)
    next(reductions)  # the stem's own
    return [
        StageInfo(stage.name or f"stage{number}", stage.channels, reduction)
        for number, (stage, reduction) in enumerate(zip(stages, reductions, strict=True), start=1)
    ]


def check_images(name: str, smallest: int, shape: Sequence[int]) -> None:
    """Refuse what are no images (N, C, H, W), or such that the network ``name`` would use up.

    Raises:
        VertebraError: another number of axes, or height or width below ``smallest``.
    """
    if len(shape) != 4:
        raise VertebraError(f"{name} takes images (N, C, H, W), got the shape {tuple(shape)}")
    if smallest > 1 and min(shape[2:]) < smallest:
        raise VertebraError(
            f"{name} takes images of {smallest}x{smallest} pixels or more, got "
            f"{shape[2]}x{shape[3]} in (N, C, H, W) = {tuple(shape)}"
        )


# A tracer must not look into it: it branches on sizes.
torch.fx.wrap("check_images")
