"""From a requirement and the evidence to a choice.

Loads no PyTorch as long as nothing has to be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vertebra.choice.choice import Choice
from vertebra.choice.decide import decide, may_win, with_opinions
from vertebra.choice.explain import conflicting, nearest, others, why
from vertebra.choice.facts import Facts, OnData, gather, with_weights_that_exist
from vertebra.choice.flips import turning
from vertebra.choice.gate import gate
from vertebra.choice.limits import breaks
from vertebra.choice.notes import noted
from vertebra.choice.order import front
from vertebra.choice.proposals import proposed
from vertebra.choice.recipe import recipe
from vertebra.choice.requirement import Requirement
from vertebra.evidence import Evidence
from vertebra.machine import Machine, describe

Tell = Callable[[str], None]


def choose(
    requirement: Requirement,
    evidence: Evidence | None = None,
    *,
    machine: Machine | None = None,
    on_data: OnData | None = None,
    data: str | None = None,
    seconds: float = 0.0,
    tell: Tell = lambda _text: None,
) -> Choice:
    """The network to take for a requirement, and why not the others.

    Args:
        requirement: what is asked.
        evidence: the store of measurements; the user's own if None.
        machine: for whose measurements; this one if None.
        on_data: what is known from the requirement's own images.
        data: where they are, for the command that trains on them.
        seconds: time to measure what stands between the evidence and an answer; 0: none.
        tell: called with one line on each step of measuring.

    Raises:
        VertebraError: the store cannot be used.
    """
    asked, requirement = requirement, with_weights_that_exist(requirement)
    stopped = gate(requirement)
    if stopped is not None and stopped.stop:
        return Choice(requirement, stopped)
    machine, store = machine or describe(), evidence or Evidence()
    facts = gather(requirement, store, machine, on_data)
    if seconds > 0:
        from vertebra.choice.measuring import measure_what_matters

        facts = measure_what_matters(requirement, facts, store, machine, on_data, seconds, tell)
    choice = answer(requirement, facts, data)
    lone = on_data.lone(requirement) if on_data else None
    if on_data and lone:
        reached = f"{lone} reached {100 * on_data.accuracies[lone].value:.1f} % on your images"
        beside = "nothing was run or probed beside it, so published figures give the order"
        choice = replace(choice, notes=(f"{reached}; {beside}", *choice.notes))
    if on_data:
        choice = replace(choice, notes=(*choice.notes, *on_data.notes))
    if data is not None:
        counted = f"images were counted and not looked at: vertebra data {data} does"
        choice = replace(choice, notes=(*choice.notes, counted))
    if asked != requirement:
        none = "no network for images of this size has weights that may be used: from scratch"
        choice = replace(choice, notes=(none, *choice.notes))
    if choice.recommended is None:
        return choice
    return replace(choice, advice=recipe(choice, requirement, data=data).to_dict())


def answer(requirement: Requirement, facts: Facts, data: str | None = None) -> Choice:
    """The choice from facts alone; ``data``: where the images are, for the commands."""
    facts = replace(facts, candidates=tuple(with_opinions(facts.candidates, requirement)))
    some = facts.candidates
    winner = decide(some, requirement)
    fits = [one for one in some if may_win(one) and not breaks(one, requirement)]
    rest = [one for one in some if winner is None or one.model != winner.model]
    return Choice(
        requirement=requirement,
        gate=gate(requirement),
        recommended=winner,
        why=tuple(why(winner, requirement)) if winner else (),
        runner_up=decide(rest, requirement) if winner else None,
        front=tuple(front(fits)),
        why_not=tuple(others(facts, winner, requirement, fits)),
        nearest=() if winner else tuple(nearest(some, requirement)),
        flips=tuple(turning(requirement, winner, some, facts.pace)) if winner else (),
        conflicts=tuple(conflicting(facts, winner, requirement)),
        notes=tuple(noted(facts, winner, requirement)),
        proposals=tuple(proposed(facts, winner, requirement, data)),
    )
