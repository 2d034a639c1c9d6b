"""The measurements that a requirement is about: of this machine, of the catalogue's networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vertebra.bench.listed import listed
from vertebra.choice.requirement import Requirement
from vertebra.choice.ways import way, way_taken
from vertebra.evidence import Evidence, Measurement
from vertebra.machine import Machine
from vertebra.zoo import Architecture

# (engine, precision, layout)
Setting = tuple[str, str, str]


@dataclass(frozen=True)
class Known:
    """A measurement and the catalogue's network that it is of."""

    measurement: Measurement
    architecture: Architecture

    @property
    def setting(self) -> Setting:
        """(engine, precision, layout)."""
        conditions = self.measurement.conditions
        return conditions.engine, conditions.precision, conditions.layout

    @property
    def size(self) -> int:
        """Pixels of a side."""
        return self.measurement.conditions.input_shape[-1]

    @property
    def work(self) -> Mapping[str, Sequence[float]]:
        """The architecture's, at the size that was measured."""
        return work_at(self.architecture, self.size)


def size_asked(architecture: Architecture, requirement: Requirement) -> int:
    """Pixels of a side that the network would see."""
    return requirement.input_size or architecture.input_size[1]


def work_at(architecture: Architecture, size: int) -> Mapping[str, Sequence[float]]:
    """A network's work at another size: maps grow with their area, weights and operations do not.

    An approximation: what attends to all of an image grows faster.
    """
    area = area_at(architecture, size)
    return {
        kind: (macs * area, weights + (moved - weights) * area, weights, operations)
        for kind, (macs, moved, weights, operations) in architecture.work.items()
    }


def area_at(architecture: Architecture, size: int) -> float:
    """Of an image beside one of the network's own size."""
    return (size / architecture.input_size[1]) ** 2


def streams(
    requirement: Requirement, evidence: Evidence, machine: Machine
) -> tuple[list[Known], list[Known]]:
    """Calls that were timed here as the requirement means them, at whatever size; and those that
    do not compare with these, see :mod:`.ways`.

    Of one network the newest that has the percentile, since not every measurement has enough calls
    for a p99.
    """
    everything = evidence.measurements(
        machine=machine.fingerprint,
        workload="stream",
        batch=requirement.batch_served,
        latest=requirement.percentile != "p99",
    )
    here, others = in_one_way(_here(everything, requirement, machine, requirement.device))
    some = [known for known in here if _has(known.measurement, requirement.percentile)]
    found = _newest([*some, *here])
    known = {_question(one) for one in found}
    return found, [one for one in _newest(others) if _question(one) not in known]


def steps(requirement: Requirement, evidence: Evidence, machine: Machine) -> list[Known]:
    """Steps of training on this machine's CPU, of each setting and batch the newest."""
    everything = evidence.measurements(machine=machine.fingerprint, workload="train")
    return _newest(in_one_way(_here(everything, requirement, machine, "cpu"))[0])


def in_one_way(some: Iterable[Known]) -> tuple[list[Known], list[Known]]:
    """Of each setting those that compare with each other; and the rest."""
    kept: list[Known] = []
    rest: list[Known] = []
    for of_one in by_setting(some).values():
        taken = way_taken([known.measurement.conditions for known in of_one])
        for known in of_one:
            (kept if way(known.measurement.conditions) == taken else rest).append(known)
    return kept, rest


def _has(measurement: Measurement, percentile: str) -> bool:
    return getattr(measurement, percentile) is not None


def _here(
    everything: Iterable[Measurement], requirement: Requirement, machine: Machine, device: str
) -> list[Known]:
    """With as many threads, on that device, of networks in the catalogue; the newest first."""
    threads = requirement.threads or machine.cores
    return [
        Known(m, architecture)
        for m in everything
        if m.conditions.threads == threads
        and m.conditions.device == device
        and (architecture := listed(m)) is not None
    ]


def _newest(some: Iterable[Known]) -> list[Known]:
    """The first of each question."""
    found: dict[tuple[object, ...], Known] = {}
    for known in some:
        found.setdefault(_question(known), known)
    return list(found.values())


def _question(known: Known) -> tuple[object, ...]:
    """Graph, shape and setting."""
    shape = known.measurement.conditions.input_shape
    return known.architecture.fingerprint, shape, known.setting


def by_setting(some: Iterable[Known]) -> dict[Setting, list[Known]]:
    """Those of each engine, precision and layout."""
    found: dict[Setting, list[Known]] = {}
    for known in some:
        found.setdefault(known.setting, []).append(known)
    return found
