"""The one face of every network in the zoo."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from vertebra.core import Preprocessing, VertebraError
from vertebra.core.preprocessing import channel_statistics
from vertebra.nn.head import Head


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
class Outputs:
    """What a training forward gives: logits (N, num_classes), and such of each auxiliary head."""

    logits: Tensor
    aux: tuple[Tensor, ...] = ()


class Backbone(nn.Module):
    """A network in three parts: ``stem``, ``stages`` (one module each) and ``head``.

    The builder of a family computes the parts; this class only holds and runs them.

    Attributes:
        name: the architecture's name in the zoo.
        stage_info: one :class:`StageInfo` a stage.
        num_features: width of what :meth:`embed` returns.
        num_classes: width of the logits; 0 when there is no head.
        input_size: (channels, height, width) that the network was designed for.
    """

    def __init__(
        self,
        name: str,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        head: Head,
        stage_info: Sequence[StageInfo],
        num_classes: int,
        input_size: tuple[int, int, int],
    ) -> None:
        super().__init__()
        if len(stages) != len(stage_info):
            raise ValueError(f"{len(stages)} stages but {len(stage_info)} entries of stage_info")
        self.name = name
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.head = head
        self.stage_info = tuple(stage_info)
        self.num_classes = num_classes
        self.input_size = input_size

    @property
    def num_features(self) -> int:
        """Width of the pooled vector."""
        return self.head.num_features

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, num_classes); the pooled vector without a head."""
        logits: Tensor = self.head(self._last_map(x))
        return logits

    def forward_train(self, x: Tensor) -> Outputs:
        """Images (N, C, H, W) -> :class:`Outputs`, with auxiliary logits where there are any."""
        return Outputs(self(x))

    def embed(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> pooled vectors (N, num_features), before dropout."""
        return self.head.embed(self._last_map(x))

    def features(self, x: Tensor, out_stages: Sequence[int] | None = None) -> list[Tensor]:
        """Images (N, C, H, W) -> one map (N, channels, H', W') a stage, in order.

        ``out_stages`` picks some by index (negative ones count from the end); the network runs no
        further than the last one asked for.

        Raises:
            VertebraError: an index names no stage.
        """
        wanted = self._stage_indices(out_stages)
        maps: dict[int, Tensor] = {}
        x = self.stem(x)
        for index, stage in enumerate(self.stages[: max(wanted, default=-1) + 1]):
            x = stage(x)
            maps[index] = x
        return [maps[index] for index in wanted]

    def _last_map(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x

    def _stage_indices(self, out_stages: Sequence[int] | None) -> list[int]:
        count = len(self.stages)
        if out_stages is None:
            return list(range(count))
        for index in out_stages:
            if not -count <= index < count:
                raise VertebraError(f"{self.name} has stages 0 to {count - 1}, no stage {index}")
        return [index % count for index in out_stages]

    def reset_head(self, num_classes: int, dropout: float | None = None) -> None:
        """Replace the last layer by a fresh one for ``num_classes`` classes (0: none).

        Its numbers come from PyTorch's global generator. ``dropout`` None keeps the present rate.

        Raises:
            VertebraError: a negative number of classes, or a rate outside [0, 1).
        """
        if num_classes < 0:
            raise VertebraError(f"num_classes must be 0 or more, got {num_classes}")
        if dropout is not None and not 0 <= dropout < 1:
            raise VertebraError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.head.reset(num_classes, dropout, like=next(self.stages.parameters()))
        self.num_classes = num_classes

    @property
    def preprocessing(self) -> Preprocessing:
        """The evaluation transform for a network without loaded weights.

        Its own input size out of a shorter side 8/7 as long (256 for 224), as ImageNet is
        evaluated; small inputs (below 128 pixels) are taken whole.
        """
        channels, size = self.input_size[0], self.input_size[1]
        mean, std = channel_statistics(channels)
        return Preprocessing(size, size * 8 // 7 if size >= 128 else size, mean, std)

    def layer_groups(self) -> list[tuple[str, list[nn.Parameter]]]:
        """Parameters from input to output: the stem, each block of each stage, the head.

        For layer-wise learning rates. A stage that is one block is one group.
        """
        parts: list[tuple[str, nn.Module]] = [("stem", self.stem)]
        for index, stage in enumerate(self.stages):
            if isinstance(stage, nn.Sequential):
                parts += [
                    (f"stages.{index}.{name}", block) for name, block in stage.named_children()
                ]
            else:
                parts.append((f"stages.{index}", stage))
        parts.append(("head", self.head))
        groups = [(name, list(part.parameters())) for name, part in parts]
        return [(name, parameters) for name, parameters in groups if parameters]
