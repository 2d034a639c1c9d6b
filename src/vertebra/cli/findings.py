"""What ``show`` is asked about one network, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vertebra.cli.targets import Subject, opened

if TYPE_CHECKING:
    from vertebra.anatomy import Anatomy, Bounds, Memory
    from vertebra.machine import Roofline

_PRECISION, _OPTIMIZER = "fp32", "adamw"  # where only the other one, or a batch, is given


@dataclass(frozen=True)
class Wanted:
    """The options of ``show`` as they were typed."""

    target: str
    image_size: int | None
    inputs: list[str] | None
    convention: str
    batch: int | None
    precision: str | None
    optimizer: str | None
    limit: str | None

    def check(self) -> None:
        """Refuse what is misspelt before any work is done."""
        from vertebra.anatomy import check_convention, check_training
        from vertebra.core import parse_bytes

        check_convention(self.convention)
        check_training(*self.training)
        if self.limit is not None:
            parse_bytes(self.limit)

    @property
    def training(self) -> tuple[str, str]:
        """Precision and optimiser."""
        return self.precision or _PRECISION, self.optimizer or _OPTIMIZER


@dataclass(frozen=True)
class Findings:
    """One network taken apart; None is what was not asked for.

    ``largest`` is the largest batch that trains within ``limit``.
    """

    subject: Subject
    body: Anatomy
    memory: Memory | None
    limit: str | None
    largest: int | None
    roof: Roofline | None
    bounds: Bounds | None

    @property
    def name(self) -> str:
        """What the network is called."""
        return self.subject.name

    def to_dict(self) -> dict[str, Any]:
        """The document of ``--json``."""
        document = {**self.body.to_dict(), "model": self.name}
        if self.memory:
            document["memory"] = {**self.memory.to_dict(), "largest_batch": self.largest}
        if self.roof and self.bounds:
            document["roofline"] = {**vars(self.roof), **self.bounds.to_dict()}
        return document


def look_into(wanted: Wanted, roofline: bool) -> Findings:
    """Build the network and take it apart."""
    from vertebra.anatomy import bounds, dissect, largest_batch, roofline_precision
    from vertebra.machine import measure_roofline

    subject = opened(wanted.target, wanted.image_size, wanted.inputs, wanted.batch or 1)
    body = dissect(subject.net, convention=wanted.convention, inputs=subject.inputs)
    if roofline:
        roofline_precision(body, wanted.precision)  # before two seconds of measuring
    memory, largest = None, None
    if wanted.batch or wanted.precision or wanted.optimizer or wanted.limit:
        memory = _memory(subject, wanted)
    if wanted.limit:
        largest = largest_batch(
            subject.net, wanted.limit, None, *wanted.training, inputs=subject.inputs
        )
    roof = measure_roofline() if roofline else None
    under = bounds(body, roof, wanted.precision) if roof else None
    return Findings(subject, body, memory, wanted.limit, largest, roof, under)


def _memory(subject: Subject, wanted: Wanted) -> Memory:
    """What training needs, of the batch that was asked for or the smallest."""
    from vertebra.anatomy import memory_of, smallest_memory_of

    if wanted.batch:
        return memory_of(subject.net, None, 1, *wanted.training, inputs=subject.inputs)
    return smallest_memory_of(subject.net, *wanted.training, inputs=subject.inputs)
