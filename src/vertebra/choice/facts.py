"""Everything that could be chosen, with what the catalogue and the store know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vertebra.choice.candidate import Accuracy, Candidate, Cost
from vertebra.choice.cost_model import CostModel, Example, fit
from vertebra.choice.hours import Pace, pace_of
from vertebra.choice.licences import accepts, licence_of
from vertebra.choice.measured import (
    Known,
    Setting,
    area_at,
    by_setting,
    size_asked,
    steps,
    streams,
    work_at,
)
from vertebra.choice.requirement import Requirement
from vertebra.evidence import Evidence, Measurement, Published
from vertebra.machine import Machine
from vertebra.runtime import TORCH_ENGINES
from vertebra.zoo import Architecture, get, list_models

# Sides below which images are small, and networks made for them are meant.
SMALL = 64
# What published figures have where no weights can be loaded.
_NO_WEIGHTS = ("paper", "release")
_FEATURE_MAPS = 3
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class OnData:
    """What is known from the requirement's own images: by model its accuracy and its LogME; and
    what the user should know of it.
    """

    accuracies: Mapping[str, Accuracy] = field(default_factory=dict)
    logme: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lone(self, requirement: Requirement) -> str | None:
        """The one network of which the images tell an accuracy, where that orders nothing."""
        if requirement.min_accuracy is not None or len(self.accuracies) != 1:
            return None
        return next(iter(self.accuracies))

    def in_order(self, requirement: Requirement) -> Mapping[str, Accuracy]:
        """The accuracies by which networks may be put in order.

        A run that has nothing beside it says how good it is and not that another is worse: it would
        win against every published figure, however badly it went. It counts where an accuracy is
        asked for, which it reaches or not. Beside probes alone a single run is held against their
        numbers.
        """
        if self.lone(requirement) is not None:
            return {}
        runs = [model for model, found in self.accuracies.items() if found.kind == "runs"]
        if requirement.min_accuracy is not None or len(runs) > 1:
            return self.accuracies
        return {
            model: replace(found, kind="probe", source=f"a run, {found.source}")
            if model in runs
            else found
            for model, found in self.accuracies.items()
        }


@dataclass(frozen=True)
class Facts:
    """The candidates; what was ruled out beforehand, with the reason; the models of cost used; how
    fast networks are trained here; what was timed in another way, and so is left out.
    """

    candidates: tuple[Candidate, ...]
    ruled_out: tuple[tuple[Candidate, str], ...]
    models: Mapping[Setting, CostModel]
    pace: Pace = field(default_factory=Pace)
    left_out: tuple[Known, ...] = ()


def gather(
    requirement: Requirement, evidence: Evidence, machine: Machine, on_data: OnData | None = None
) -> Facts:
    """Every network of the catalogue in every allowed engine of which something is known."""
    on_data = on_data or OnData()
    on_data = replace(on_data, accuracies=on_data.in_order(requirement))
    measured, left_out = streams(requirement, evidence, machine)
    models = {
        setting: model
        for setting, some in by_setting(measured).items()
        if (model := fit([_example(known) for known in some])) is not None
    }
    pace = pace_of(requirement, measured, steps(requirement, evidence, machine), models)
    found: list[Candidate] = []
    ruled_out: list[tuple[Candidate, str]] = []
    for name in _names(requirement):
        architecture = get(name)
        base = _base(architecture, requirement, on_data)
        why_not = _unsuitable(architecture, requirement, base)
        if why_not:
            ruled_out.append((base, why_not))
            continue
        size = size_asked(architecture, requirement)
        # By the graph: two names of one network share what was measured.
        graph = architecture.fingerprint
        own = [m for m in measured if m.architecture.fingerprint == graph and m.size == size]
        hours, guessed = pace.hours(architecture, requirement, base.weights)
        base = replace(base, hours=hours, hours_guessed=guessed)
        found += _costed(base, architecture, requirement, own, models)
    return Facts(tuple(found), tuple(ruled_out), models, pace, tuple(left_out))


def _names(requirement: Requirement) -> list[str]:
    """Networks for images of this size: those made for small ones only where images are small."""
    small = requirement.input_size is not None and requirement.input_size <= SMALL
    return [
        name
        for name in list_models(exclude=requirement.exclude)
        if (get(name).input_size[1] <= SMALL) == small
    ]


def with_weights_that_exist(requirement: Requirement) -> Requirement:
    """The requirement, without pretrained weights where no network that is meant has any."""
    if not requirement.pretrained or requirement.kind != "images":
        return requirement
    some = any(usable_weights(get(name), requirement) for name in _names(requirement))
    return requirement if some else replace(requirement, pretrained=False)


def _base(architecture: Architecture, requirement: Requirement, on_data: OnData) -> Candidate:
    """The network before any engine is meant."""
    published = usable_weights(architecture, requirement)
    weights = published.weights if published else None
    accuracy = on_data.accuracies.get(architecture.name)
    if accuracy is not None:
        weights = accuracy.weights
    elif published is not None and published.top1 is not None:
        source = f"{published.weights}: {published.source}"
        accuracy = Accuracy(published.top1, "published", source, weights=published.weights)
    return Candidate(
        model=architecture.name,
        family=architecture.family,
        params=architecture.params - architecture.aux_params,
        gmacs=area_at(architecture, size_asked(architecture, requirement))
        * architecture.macs
        / 1e9,
        engine="",
        precision="",
        weights=weights,
        accuracy=accuracy,
        logme=on_data.logme.get(architecture.name),
    )


def usable_weights(architecture: Architecture, requirement: Requirement) -> Published | None:
    """The most accurate weights that can be loaded, at the catalogue's size, under a licence that
    is accepted; None where there are none, or none are to be had.
    """
    if not requirement.pretrained:
        return None
    some = [
        row
        for row in architecture.published
        if row.weights not in _NO_WEIGHTS
        and row.top1 is not None
        and row.crop == architecture.input_size[1]
        and accepts(requirement.licence, licence_of(row, architecture.name))
    ]
    return max(some, key=lambda row: row.top1 or 0.0, default=None)


def _unsuitable(
    architecture: Architecture, requirement: Requirement, base: Candidate
) -> str | None:
    """Why the network cannot be meant at all; None where it can."""
    if requirement.must_features:
        reductions = {reduction for _, reduction in architecture.stages}
        if len(reductions) < _FEATURE_MAPS:
            return "gives maps of one resolution only, and several are asked for"
    if requirement.pretrained and base.weights is None and base.accuracy is None:
        licence = " under a licence that is accepted" if requirement.licence else ""
        return f"no weights are published{licence} that could be loaded at its size"
    return None


def _example(known: Known) -> Example:
    name = f"{known.architecture.name} at {known.size}"
    return Example(name, known.architecture.family, known.work, known.measurement.p50)


def _costed(
    base: Candidate,
    architecture: Architecture,
    requirement: Requirement,
    own: Sequence[Known],
    models: Mapping[Setting, CostModel],
) -> Iterator[Candidate]:
    """The network in each allowed engine: as measured, else as predicted; else without a cost."""
    settings = {known.setting: known.measurement for known in own}
    allowed = [s for s in {**dict.fromkeys(models), **settings} if requirement.allows(*s[:2])]
    known = False
    for engine, precision, layout in allowed:
        setting = (engine, precision, layout)
        cost = _predicted(architecture, requirement, setting, models)
        cost_only = precision == "int8"
        if setting in settings:
            cost = _as_measured(settings[setting], requirement)
            cost_only = settings[setting].cost_only
        if cost is not None:
            known = True
            yield replace(
                base,
                engine=engine,
                precision=precision,
                layout=layout,
                cost=cost,
                cost_only=cost_only,
            )
    if not known:
        engines, precisions = requirement.begun_with
        yield replace(base, engine=engines[0], precision=precisions[0])


def _as_measured(measurement: Measurement, requirement: Requirement) -> Cost:
    """Where the percentile that is asked for was not measured, its median, as a bound on it."""
    seconds = getattr(measurement, requirement.percentile)
    low, high = measurement.interval
    margin = max(measurement.floor, (high - low) / 2 / measurement.p50)
    return Cost(
        seconds=measurement.p50 if seconds is None else seconds,
        images_per_second=measurement.images_per_second,
        memory=_memory(measurement),
        file=measurement.file,
        error=0.0 if seconds is None else None,
        margin=margin,
        turns=measurement.extra.get("turns"),
        pace=measurement.pace,
        disturbed=measurement.warnings,
    )


def _memory(measurement: Measurement) -> int | None:
    """Of what it ran on; of a GPU PyTorch alone tells it."""
    on_host = "host_memory" not in measurement.extra
    return None if measurement.conditions.device != "cpu" and on_host else measurement.memory


def _predicted(
    architecture: Architecture,
    requirement: Requirement,
    setting: Setting,
    models: Mapping[Setting, CostModel],
) -> Cost | None:
    """By the model of the setting: the median, whatever percentile is asked for; no memory."""
    if setting not in models:
        return None
    seconds = models[setting].seconds(work_at(architecture, size_asked(architecture, requirement)))
    params = architecture.params - architecture.aux_params
    return Cost(
        seconds=seconds,
        images_per_second=requirement.batch_served / seconds,
        memory=None,
        file=params * _bytes_of_a_number(setting),
        error=models[setting].error,
    )


def _bytes_of_a_number(setting: Setting) -> int:
    """In what is loaded: engines that read a file make bf16 and fp16 of its fp32 themselves."""
    engine, precision, _ = setting
    return _BYTES[precision] if precision == "int8" or engine in TORCH_ENGINES else 4
