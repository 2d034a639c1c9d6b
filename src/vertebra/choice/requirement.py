"""What a network is asked for: the task, the budget, and what may be used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeGuard

from vertebra.choice.licences import check_licence
from vertebra.core import VertebraError, unknown
from vertebra.runtime import ENGINES, PRECISIONS

if TYPE_CHECKING:
    from vertebra.data import DataCard

WORDS: Mapping[str, tuple[str, ...]] = {
    "kind": ("images", "table", "text", "audio", "sequence", "graph", "video"),
    "percentile": ("p50", "p90", "p99"),
    "device": ("cpu", "cuda"),
    "domain": ("photographs", "near", "far"),
    "prefer": ("balanced", "accuracy", "speed"),
}
LISTS: Mapping[str, tuple[str, ...] | None] = {
    "engines": ENGINES,
    "precisions": PRECISIONS,
    "licence": None,
    "exclude": None,
}
# The least that each whole number may be.
_COUNTS = {
    "images": 1,
    "classes": 2,
    "input_size": 1,
    "batch_served": 1,
    "threads": 1,
    "gpus": 0,
    "batch": 1,
}
_AMOUNTS = (
    "latency_ms",
    "throughput",
    "memory_mb",
    "file_mb",
    "gmacs",
    "params_m",
    "hours",
)
_SHARES = ("min_accuracy", "baseline_accuracy")
_SWITCHES = ("must_features", "pretrained", "interpretable")


@dataclass(frozen=True)
class Requirement:
    """One situation that asks for a network. None is: not said, or no limit.

    Attributes:
        kind: what one sample is; a vision backbone is for "images".
        images: labelled samples; rows, of a table.
        classes: how many there are to tell apart.
        input_size: side of the square that the network shall see, in pixels.
        latency_ms: most time that ``percentile`` of the calls may take, each of ``batch_served``
            images.
        throughput: images a second at least.
        memory_mb, file_mb: most that the process, and what it loads, may take; units of 10^6 bytes.
        gmacs, params_m: most 10^9 multiply-accumulates of one image, and 10^6 parameters.
        device: where it is served.
        engines, precisions: which may serve it; None: any.
        threads: that the engine may use; None: all usable cores.
        hours: of training, at most.
        gpus: for training; 0: this machine's CPU.
        min_accuracy: share of images to be right at least, on this very data.
        must_features: a detector or a segmenter needs the maps of several stages.
        licence: accepted licences of pretrained weights, "unknown" for those that state none; None:
            any.
        pretrained: whether pretrained weights may be had.
        interpretable: whether every single answer must be explained exactly.
        domain: how far the images are from photographs of things: "near" (products, animals in
            traps), "far" (microscopy, radar, spectra).
        baseline_accuracy: what a linear or another classical model reaches on this data.
        batch: images that fit into one device's memory in a training step.
        exclude: wildcards of models that are not wanted.
        prefer: what decides between networks that hold every limit.
    """

    kind: str = "images"
    images: int | None = None
    classes: int | None = None
    input_size: int | None = None
    latency_ms: float | None = None
    percentile: str = "p50"
    throughput: float | None = None
    batch_served: int = 1
    memory_mb: float | None = None
    file_mb: float | None = None
    gmacs: float | None = None
    params_m: float | None = None
    device: str = "cpu"
    engines: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None
    threads: int | None = None
    hours: float | None = None
    gpus: int = 0
    min_accuracy: float | None = None
    must_features: bool = False
    licence: tuple[str, ...] | None = None
    pretrained: bool = True
    interpretable: bool = False
    domain: str = "photographs"
    baseline_accuracy: float | None = None
    batch: int | None = None
    exclude: tuple[str, ...] = ()
    prefer: str = "balanced"

    def __post_init__(self) -> None:
        for name, known in LISTS.items():
            # Lists come from YAML and JSON; a lone string is one entry and not its letters.
            object.__setattr__(self, name, _listed(name, getattr(self, name), known))
        self.check()

    def check(self) -> None:
        """Refuse what cannot be asked for.

        Raises:
            VertebraError: a number that is none or out of range, an unknown word, or fewer images
                than classes.
        """
        for name, known in WORDS.items():
            _check_word(name, getattr(self, name), known)
        for name, least in _COUNTS.items():
            _check_count(name, getattr(self, name), least, _may_be_none(name))
        for name in _AMOUNTS:
            _check_amount(name, getattr(self, name))
        for name in _SHARES:
            _check_share(name, getattr(self, name))
        for name in _SWITCHES:
            _check_switch(name, getattr(self, name))
        if self.images is not None and self.classes is not None and self.images < self.classes:
            raise VertebraError(
                f"{self.images} images cannot show {self.classes} classes; "
                f"images is the number of all labelled samples"
            )

    def allows(self, engine: str, precision: str) -> bool:
        """Whether it may be served in them."""
        return (self.engines is None or engine in self.engines) and (
            self.precisions is None or precision in self.precisions
        )

    @property
    def begun_with(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Engines and precisions that are tried first: what is allowed, or what needs nothing."""
        return self.engines or ("eager",), self.precisions or ("fp32",)

    @classmethod
    def of_card(cls, card: DataCard, **others: Any) -> Requirement:
        """The requirement of a dataset: its labelled images and its classes, and what is given.

        Raises:
            VertebraError: as the constructor; or a name that is no field.
        """
        names = [field.name for field in fields(cls)]
        for name in others:
            if name not in names:
                raise unknown("field of a requirement", name, names)
        images = sum(sum(classes.values()) for classes in card.counts.values())
        return cls(**{"images": images, "classes": len(card.classes), **others})

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, under the names of the fields."""
        plain = asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in plain.items()
        }


def _may_be_none(name: str) -> bool:
    return name not in ("batch_served", "gpus")


def _listed(name: str, given: object, known: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if given is None:
        if name == "exclude":
            return ()
        return None
    entries: tuple[object, ...]
    if isinstance(given, str):
        entries = (given,)
    elif isinstance(given, tuple | list):
        entries = tuple(given)
    else:
        raise VertebraError(f"{name} takes a list of words, got {given!r}")
    words = tuple(entry for entry in entries if isinstance(entry, str) and entry)
    if len(words) < len(entries):
        raise VertebraError(f"{name} takes a list of words, got {given!r}")
    if not words and name != "exclude":
        raise VertebraError(f"{name} is empty, which nothing can meet; leave it out to allow any")
    for word in words:
        if known is not None and word not in known:
            raise unknown(name, word, known)
        if name == "licence":
            check_licence(word)
    return words


def _check_word(name: str, given: object, known: tuple[str, ...]) -> None:
    if not isinstance(given, str):
        raise VertebraError(f"{name} is one of {', '.join(known)}, got {given!r}")
    if given not in known:
        raise unknown(name, given, known)


def _check_count(name: str, given: object, least: int, may_be_none: bool) -> None:
    if given is None and may_be_none:
        return
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        hint = ""
        if isinstance(given, float) and given.is_integer() and given >= least:
            hint = f"; did you mean {int(given)}?"
        raise VertebraError(f"{name} is a whole number of at least {least}, got {given!r}{hint}")


def _check_amount(name: str, given: object) -> None:
    if given is not None and not (_is_number(given) and given > 0):
        raise VertebraError(f"{name} is a number above zero, got {given!r}")


def _check_share(name: str, given: object) -> None:
    if given is None or (_is_number(given) and 0 < given <= 1):
        return
    hint = f"; did you mean {given / 100:g}?" if _is_number(given) and 1 < given <= 100 else ""
    raise VertebraError(f"{name} is a share above 0 and at most 1, got {given!r}{hint}")


def _check_switch(name: str, given: object) -> None:
    if not isinstance(given, bool):
        raise VertebraError(f"{name} is True or False, got {given!r}")


def _is_number(given: object) -> TypeGuard[int | float]:
    return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
