"""What a choice says beside the name: the evidence for it and against the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from vertebra.choice.candidate import Candidate
from vertebra.choice.decide import may_win
from vertebra.choice.facts import Facts
from vertebra.choice.limits import AXES, breaks, shown_value, typed, unknowns
from vertebra.choice.opinions import voices
from vertebra.choice.order import dominates, merit
from vertebra.choice.reasons import compared, why_not
from vertebra.choice.requirement import Requirement
from vertebra.choice.rules import Verdict, conflicts, covered, weights_verdicts
from vertebra.zoo import get

# How many are named where nothing fits, or may be better.
NAMED = 3


def by_merit(candidates: Iterable[Candidate], requirement: Requirement) -> list[Candidate]:
    """One of each network, in its best engine by what is known of it, in the order of merit."""
    enough = requirement.min_accuracy is not None

    def key(one: Candidate) -> tuple[object, ...]:
        sure = (not breaks(one, requirement), not one.cost_only, one.cost is not None)
        return (*sure, merit(one, requirement.prefer, enough), one.is_measured)

    ordered = sorted(sorted(candidates, key=lambda one: one.name), key=key, reverse=True)
    found: dict[str, Candidate] = {}
    for one in ordered:
        found.setdefault(one.model, one)
    return list(found.values())


def others(
    facts: Facts,
    winner: Candidate | None,
    requirement: Requirement,
    fits: Sequence[Candidate],
) -> Iterator[tuple[Candidate, str]]:
    """Every network but the winner with one line, those that came nearest first."""
    for one in by_merit(facts.candidates, requirement):
        if winner is None or one.model != winner.model:
            yield one, why_not(one, winner, requirement, fits)
    yield from facts.ruled_out


def why(winner: Candidate, requirement: Requirement) -> Iterator[str]:
    """The evidence for the winner."""
    cost, accuracy = winner.cost, winner.accuracy
    assert cost is not None
    yield (
        f"{requirement.percentile} {1e3 * cost.seconds:.3g} ms a call of "
        f"{requirement.batch_served}, measured on this machine"
    )
    if accuracy is None:
        yield "accuracy unknown: published figures say nothing of a network trained from scratch"
    else:
        yield f"{100 * accuracy.value:.1f} % accurate ({_kind(accuracy.kind)}: {accuracy.source})"
    for axis in AXES:
        limit, own = getattr(requirement, axis.field), axis.of(winner)
        if limit is not None and own is not None and axis.field != "latency_ms":
            yield f"{axis.noun} {shown_value(axis, own)} within {shown_value(axis, limit)}"
    said = [*voices(requirement, get(winner.model), "prefers"), *_of_weights(winner, requirement)]
    yield from dict.fromkeys(
        f"rule {verdict.rule.code}: {verdict.says} ({verdict.rule.source})"
        for verdict in said
        if verdict.stance == "prefers"
    )


def _of_weights(winner: Candidate, requirement: Requirement) -> Iterator[Verdict]:
    """What the rules say of the winner's weights beside the network's others."""
    if winner.weights is not None:
        others = [row.weights for row in get(winner.model).published]
        yield from weights_verdicts(requirement, winner.weights, others)


def _kind(kind: str) -> str:
    return {
        "runs": "trained on this data",
        "probe": "a linear model on its features of this data",
        "published": "published, on ImageNet and not on this data",
    }[kind]


def nearest(candidates: Sequence[Candidate], requirement: Requirement) -> Iterator[str]:
    """Where nothing fits: what breaks the limits least, and which limit to relax."""
    # Of a higher percentile nothing is predicted; a median alone would look as if it fitted.
    known = (lambda one: one.cost) if requirement.percentile == "p50" else may_win
    measured = [one for one in candidates if known(one) and not one.cost_only]
    if not measured:
        yield f"no {requirement.percentile} was measured here under these conditions yet"
        return
    ranked = sorted(
        {
            one.model: one for one in sorted(measured, key=_reach(requirement), reverse=True)
        }.values(),
        key=_reach(requirement),
    )
    for one in ranked[:NAMED]:
        broken = breaks(one, requirement)
        if broken:
            limits = "; ".join(str(b) for b in broken)
            to = "; ".join(f"relax {b.axis.field} to {typed(b.axis, b.value)}" for b in broken)
            yield f"{one.name}: {limits}: {to}"
        else:
            missing = ", ".join(axis.noun for axis in unknowns(one, requirement))
            yield f"{one.name}: may fit, but was not measured here ({missing or 'all of it'})"


def _reach(requirement: Requirement) -> Callable[[Candidate], tuple[float, int, str]]:
    """How far one is from fitting: its worst break, how many there are."""

    def reach(one: Candidate) -> tuple[float, int, str]:
        broken = breaks(one, requirement)
        return max((b.share for b in broken), default=0.0), len(broken), one.name

    return reach


def conflicting(facts: Facts, winner: Candidate | None, requirement: Requirement) -> Iterator[str]:
    """Rules that disagree with each other, and rules that a measurement disagrees with."""
    within = [one for one in facts.candidates if not breaks(one, requirement)]
    names = dict.fromkeys(one.model for one in within)
    for conflict in conflicts(requirement, [get(name) for name in names]):
        yield conflict.says
    gap = covered(requirement).gap
    if gap:
        yield gap
    if winner is None:
        return
    said = [*voices(requirement, get(winner.model), "against"), *_of_weights(winner, requirement)]
    for verdict in said:
        if verdict.stance != "against":
            continue
        yield (
            f"rule {verdict.rule.code} advises against {winner.model} ({verdict.says}), and the "
            f"evidence speaks for it"
        )
    for one in by_merit(facts.candidates, requirement):
        if one.is_measured and dominates(winner, one):
            for verdict in voices(requirement, get(one.model), "prefers"):
                if verdict.rule.answers:
                    yield (
                        f"rule {verdict.rule.code} prefers {one.model}; by what was measured "
                        f"{winner.name} is {compared(winner, one)}"
                    )


def perhaps_better(
    facts: Facts, winner: Candidate, requirement: Requirement
) -> Iterator[Candidate]:
    """Those that would win were their predictions right."""
    enough = requirement.min_accuracy is not None
    least = merit(winner, requirement.prefer, enough)
    for one in by_merit(facts.candidates, requirement)[:NAMED]:
        if one.is_measured or one.cost is None or one.cost_only or breaks(one, requirement):
            continue
        if merit(one, requirement.prefer, enough) > least:
            yield one
