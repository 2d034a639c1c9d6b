"""Two benches beside each other: what became faster or slower, beyond the noise of both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra.bench.names import name
from vertebra.bench.statistics import Ratio, paired_ratio, rounds_of, separate_ratio
from vertebra.core import VertebraError
from vertebra.evidence import Measurement

SCHEMA = "vertebra.bench/1"


@dataclass(frozen=True)
class Compared:
    """One cell of both: ``ratio`` is the time of the second over that of the first."""

    name: str
    before: Measurement
    after: Measurement
    ratio: Ratio

    @property
    def other_machine(self) -> bool:
        """Whether the two were measured on different machines."""
        return self.before.conditions.machine != self.after.conditions.machine

    @property
    def other_options(self) -> list[str]:
        """What the engine was asked for in one of them only, or otherwise."""
        one, other = self.before.conditions.options, self.after.conditions.options
        return sorted(what for what in {*one, *other} if one.get(what) != other.get(what))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "before": self.before.p50,
            "after": self.after.p50,
            "ratio": self.ratio.value,
            "interval": [self.ratio.low, self.ratio.high],
            "floor": self.ratio.floor,
            "differs": self.ratio.differs,
            "other_machine": self.other_machine,
            "other_options": self.other_options,
        }


def read(path: Path) -> list[Measurement]:
    """The measurements that ``vertebra bench --json`` wrote to a file.

    Raises:
        VertebraError: it cannot be read, or is no such file.
    """
    try:
        document = json.loads(path.read_text())
        if document["schema"] != SCHEMA:
            raise VertebraError(f"{path} is {document['schema']}; compare takes {SCHEMA}")
        return [Measurement.from_dict(row) for row in document["measurements"]]
    except OSError as error:
        raise VertebraError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise VertebraError(f"{path} was not written by vertebra bench --json") from error


def compare(
    before: Sequence[Measurement], after: Sequence[Measurement]
) -> tuple[list[Compared], list[str]]:
    """What both have, in the second one's order; and the names of what only one has.

    The two were not measured in turn, so what drifted in between is in the ratio: only a difference
    larger than both floors is called one.
    """
    earlier = {_identity(m): m for m in before}
    later = {_identity(m): m for m in after}
    both = [
        Compared(name(m), earlier[key], m, ratio(earlier[key], m))
        for key, m in later.items()
        if key in earlier
    ]
    lonely = [
        name(m)
        for one, other in ((earlier, later), (later, earlier))
        for key, m in one.items()
        if key not in other
    ]
    return both, lonely


def ratio(before: Measurement, after: Measurement) -> Ratio:
    """The time of ``after`` over that of ``before``: round by round where they took turns, so that
    what drifted drops out.
    """
    floor = max(before.floor, after.floor)
    turns = before.extra.get("turns")
    if turns is not None and turns == after.extra.get("turns"):
        return paired_ratio(after.samples, before.samples, int(after.extra["rounds"]), floor)
    return separate_ratio(_rounds(after), _rounds(before), floor)


def _rounds(measurement: Measurement) -> list[float]:
    return rounds_of(measurement.samples, int(measurement.extra["rounds"]))


def _identity(measurement: Measurement) -> tuple[object, ...]:
    """What makes two the same question; versions, options of the engine and machines may differ,
    that is what is asked; a server's rate is part of the question.
    """
    c: Mapping[str, Any] = vars(measurement.conditions)
    fields = ("input_shape", "workload", "engine", "layout", "precision", "threads", "device")
    return (measurement.model, c["options"].get("rate"), *(c[field] for field in fields))
