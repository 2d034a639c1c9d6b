"""What the user should know of the evidence behind a choice."""

from __future__ import annotations

from collections.abc import Iterator

from vertebra.choice.candidate import Candidate
from vertebra.choice.commands import why_nothing_runs
from vertebra.choice.explain import NAMED, perhaps_better
from vertebra.choice.facts import Facts
from vertebra.choice.limits import shown_value, unknowns
from vertebra.choice.measured import by_setting
from vertebra.choice.reasons import prediction
from vertebra.choice.requirement import Requirement
from vertebra.choice.rivals import DRIFT, doubt, rivals, slowdown
from vertebra.zoo import get


def noted(facts: Facts, winner: Candidate | None, requirement: Requirement) -> Iterator[str]:
    """What the user should know of the evidence."""
    measured = {one.model for one in facts.candidates if one.is_measured}
    total = {one.model for one in facts.candidates}
    what = "" if requirement.percentile == "p50" else f" up to {requirement.percentile}"
    out = len(facts.ruled_out)
    without = f"; {out} more are ruled out whatever they cost" if out else ""
    yield f"{len(measured)} of {len(total)} networks were measured on this machine{what}{without}"
    if not facts.models and len(measured) < len(total):
        yield (
            "these are too few to predict what the others cost, and one of those may well be the "
            "better choice: --measure 10 measures what matters for ten minutes"
        )
    yield from why_nothing_runs(requirement)
    yield from _of_other_ways(facts, requirement)
    yield from _of_predictions(facts, requirement)
    if winner is not None:
        yield from _of_unknowns(winner, requirement)
        yield from _of_cost(facts, winner)
        yield from _of_accuracy(winner, requirement)
        for one in perhaps_better(facts, winner, requirement):
            yield f"{one.name} may be the better choice: {prediction(one, requirement)}"
        yield from _of_rivals(facts, winner, requirement)
    yield from _of_target(facts, requirement)
    yield from _of_hours(facts, winner, requirement)


def _of_other_ways(facts: Facts, requirement: Requirement) -> Iterator[str]:
    for (engine, precision, layout), some in by_setting(facts.left_out).items():
        if not requirement.allows(engine, precision):
            continue
        names = ", ".join(known.architecture.name for known in some[:NAMED])
        more = f" and {len(some) - NAMED} more" if len(some) > NAMED else ""
        yield (
            f"left out, since another version of {engine} or other options do not compare: what "
            f"{names}{more} took in {precision} ({layout}); vertebra bench measures it again"
        )


def _of_predictions(facts: Facts, requirement: Requirement) -> Iterator[str]:
    for (engine, precision, layout), model in facts.models.items():
        if requirement.allows(engine, precision):
            yield (
                f"what was not measured in {engine} {precision} ({layout}) is predicted from "
                f"{model.networks} networks; such predictions err by {100 * model.error:.0f} % in "
                f"half of the cases"
            )


def _of_target(facts: Facts, requirement: Requirement) -> Iterator[str]:
    if requirement.min_accuracy is not None and any(
        one.accuracy and one.accuracy.kind == "published" for one in facts.candidates
    ):
        yield (
            "the accuracy that is asked for was held against ImageNet's: on your images it may be "
            "reached by less or by none"
        )


def _of_accuracy(winner: Candidate, requirement: Requirement) -> Iterator[str]:
    if winner.precision != "fp32":
        yield f"{winner.precision} is taken to be as accurate as fp32; measure it on your data"
    if winner.accuracy is None or winner.accuracy.kind != "published":
        return
    yield "accuracy is ImageNet's: another data set's order of networks may differ"
    own = get(winner.model).input_size[1]
    if requirement.input_size not in (None, own):
        yield (
            f"accuracies are published at each network's own size ({winner.model}: {own} pixels), "
            f"times hold for {requirement.input_size}"
        )
    if requirement.domain == "far":
        yield "far from photographs ImageNet's accuracy says less: probe the features instead"


def _of_hours(facts: Facts, winner: Candidate | None, requirement: Requirement) -> Iterator[str]:
    if requirement.hours is None:
        return
    if requirement.gpus or requirement.device != "cpu":
        yield "hours of training on a GPU are not known here, so they limit nothing"
    elif requirement.images is None:
        yield "hours of training hang on the number of images; without it they limit nothing"
    elif winner is not None and winner.hours is None:
        yield f"hours of training {winner.model} are not known, so they do not limit it"
    elif winner is not None:
        yield (
            f"hours are those of every image by the advised recipe, without validation"
            f"{_guessed(facts)}"
        )


def _guessed(facts: Facts) -> str:
    """How the hours of networks are told whose own steps were not measured."""
    if facts.pace.passes is None:
        return ""
    passes = facts.pace.passes
    return (
        f"; an image of a step takes {passes.middle:.2g} forward passes ({passes.least:.2g} to "
        f"{passes.most:.2g} in {passes.networks} networks that were measured), by which the others "
        f"are told"
    )


def _of_unknowns(winner: Candidate, requirement: Requirement) -> Iterator[str]:
    for axis in unknowns(winner, requirement):
        if axis.field != "hours":  # told of below
            limit = shown_value(axis, getattr(requirement, axis.field))
            yield (
                f"{axis.noun} of {winner.model} is not known, so whether it holds {limit} is not "
                f"known either"
            )


def _of_cost(facts: Facts, winner: Candidate) -> Iterator[str]:
    assert winner.cost is not None
    meanwhile = list(winner.cost.disturbed)
    others = (one.cost for one in facts.candidates if one.cost is not None)
    slow = max(slowdown(winner.cost, cost) for cost in others)
    if slow > 1 + DRIFT:
        meanwhile.append(f"this machine was {slow:.1f} times as slow as when it measured others")
    if meanwhile:
        yield (
            f"what {winner.model} takes was measured while {'; '.join(meanwhile)}: measure it "
            f"again (vertebra bench --force)"
        )


def _of_rivals(facts: Facts, winner: Candidate, requirement: Requirement) -> Iterator[str]:
    some = rivals(facts.candidates, winner, requirement)
    if some:
        most = max(doubt(one, winner) for one in some)
        yield (
            f"{', '.join(one.model for one in some)} would win if up to {100 * most:.0f} % faster "
            f"beside {winner.model}, and times of two hours may well be so far off: measure them "
            f"in turn (--measure 5)"
        )
