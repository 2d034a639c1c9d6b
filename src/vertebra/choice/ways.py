"""In which way an engine ran: times of another version or with other options do not compare.

A freed block that is kept makes PyTorch two fifths faster, a new version any amount: a network that
was timed so would win against all that were timed before. So of each setting one way is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vertebra.bench.plan import asked_for
from vertebra.core import VertebraError
from vertebra.evidence import Conditions
from vertebra.runtime import Setup, version


@dataclass(frozen=True)
class Way:
    """The engine's version and what it was asked for."""

    version: str
    options: Mapping[str, str]


def way(conditions: Conditions) -> Way:
    """That of a measurement."""
    return Way(conditions.engine_version, dict(conditions.options))


def way_taken(some: Sequence[Conditions]) -> Way:
    """Of measurements of one setting, the newest first: that in which this installation would
    measure, if any is of it; else the newest one's.
    """
    now = _now(some[0])
    ways = [way(conditions) for conditions in some]
    return now if now is not None and now in ways else ways[0]


def _now(like: Conditions) -> Way | None:
    """None where the engine is not installed here, or is another project's."""
    try:
        setup = Setup(like.engine, like.precision, like.layout, like.threads, like.device)
        return Way(version(setup.engine), asked_for(setup, like.workload))
    except VertebraError:
        return None
