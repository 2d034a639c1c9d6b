"""The measurements that a requirement is about: of this machine, of the catalogue's networks."""

from __future__ import annotations

from collections.abc import Iterable

from vertebra.choice.requirement import Requirement
from vertebra.core import VertebraError
from vertebra.evidence import Evidence, Measurement
from vertebra.machine import Machine
from vertebra.zoo import get

# (engine, precision, layout)
Setting = tuple[str, str, str]


def measured_streams(
    requirement: Requirement, evidence: Evidence, machine: Machine
) -> list[Measurement]:
    """What was measured here under the conditions that the requirement means."""
    threads = requirement.threads or machine.cores
    newest: dict[tuple[str, Setting], Measurement] = {}
    for m in evidence.measurements(machine=machine.fingerprint, workload="stream"):
        if (
            m.conditions.threads == threads
            and m.conditions.batch == requirement.batch_served
            and m.conditions.device == requirement.device
            and is_listed_as(m)
        ):
            # The newest come first; older ones are of other versions of an engine.
            newest.setdefault((m.model, setting_of(m)), m)
    return list(newest.values())


def is_listed_as(measurement: Measurement) -> bool:
    """Whether what was measured is the catalogue's network of that name at its own size."""
    try:
        return get(measurement.model).fingerprint == measurement.conditions.fingerprint
    except VertebraError:  # another library's, or a user's own
        return False


def by_setting(measured: Iterable[Measurement]) -> dict[Setting, list[Measurement]]:
    """Those of each engine, precision and layout."""
    found: dict[Setting, list[Measurement]] = {}
    for m in measured:
        found.setdefault(setting_of(m), []).append(m)
    return found


def setting_of(measurement: Measurement) -> Setting:
    """(engine, precision, layout)."""
    conditions = measurement.conditions
    return conditions.engine, conditions.precision, conditions.layout
