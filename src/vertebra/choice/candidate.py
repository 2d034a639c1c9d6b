"""One network in one engine, with what is known of its cost and of its accuracy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

# How much an accuracy says of this data, strongest first: of networks trained on it; of linear
# models on their features of it; of ImageNet. Those of two kinds are never compared as numbers.
RANKS = ("runs", "probe", "published", "unknown")


@dataclass(frozen=True)
class Accuracy:
    """A share of images that are right, and where it is from.

    ``kind`` is one of :data:`RANKS`; ``interval`` is at 99 %, None where it was not measured;
    ``weights`` what the network began from, None from scratch.
    """

    value: float
    kind: str
    source: str
    interval: tuple[float, float] | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Cost:
    """What serving it takes: seconds of a call, bytes of memory and of files, images a second.

    ``error`` is None where it was measured on this machine; where it was predicted, the relative
    error that such predictions had in half of the cases; 0 where it is a measured median and a
    higher percentile is asked for. ``margin`` is the half width of the
    interval of a measured time, as a share of it, or the machine's noise if that is larger.
    ``turns`` is the same for all that were measured in turn with each other, and so compare best;
    ``pace`` how fast the machine was then, see :attr:`.Measurement.pace`;
    ``disturbed`` what else ran meanwhile, in words.
    """

    seconds: float
    images_per_second: float
    memory: int | None
    file: int | None
    error: float | None = None
    margin: float = 0.0
    turns: str | None = None
    pace: tuple[str, float] | None = None
    disturbed: tuple[str, ...] = ()

    @property
    def is_measured(self) -> bool:
        """On this machine, under these conditions."""
        return self.error is None


@dataclass(frozen=True)
class Candidate:
    """What could be chosen.

    Attributes:
        model, family: as the catalogue names them.
        params, gmacs: of the network as published; 1e9 MACs of one image of the size that is asked
            for, or of its own.
        engine, precision, layout: what would serve it.
        weights: the tag of the pretrained weights that ``accuracy`` is about; None from scratch.
        cost: None where nothing was measured that it could be predicted from.
        accuracy: None where nothing says it: an ImageNet accuracy is none of a network that is
            trained from scratch.
        opinion: what the rules of thumb say of it for the requirement, from -1 to 1; see
            :func:`.opinions.opinion`.
        hours: of training on the requirement's images, where that can be told.
        hours_guessed: they are told by other networks' steps and not by its own.
        cost_only: its numbers are of no use (int8 calibrated on random images).
        logme: a transferability score, shown and never judged by.
    """

    model: str
    family: str
    params: int
    gmacs: float
    engine: str
    precision: str
    layout: str = "contiguous"
    weights: str | None = None
    cost: Cost | None = None
    accuracy: Accuracy | None = None
    opinion: float = 0.0
    hours: float | None = None
    hours_guessed: bool = False
    cost_only: bool = False
    logme: float | None = None

    @property
    def name(self) -> str:
        """As told to the user: "resnet50 in openvino bf16"."""
        layout = ", channels_last" if self.layout == "channels_last" else ""
        return f"{self.model} in {self.engine} {self.precision}{layout}"

    @property
    def rank(self) -> int:
        """Place of the kind of its accuracy among :data:`RANKS`: less is stronger."""
        return RANKS.index(self.accuracy.kind if self.accuracy else "unknown")

    @property
    def is_measured(self) -> bool:
        """Whether its cost was measured on this machine."""
        return self.cost is not None and self.cost.is_measured

    def to_dict(self) -> dict[str, Any]:
        """Plain data under the names of this class."""
        return {**asdict(self), "name": self.name}
