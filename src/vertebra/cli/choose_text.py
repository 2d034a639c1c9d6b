"""What ``vertebra choose`` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from vertebra.cli import output

if TYPE_CHECKING:
    from vertebra.choice import Candidate, Choice
    from vertebra.choice.limits import Axis

# Networks of which it is said why not, unless all are asked for.
_SHOWN = 8


def print_choice(choice: Choice, every: bool) -> None:
    """The answer first, then its evidence, then the others, then what is open."""
    if choice.gate:
        _gate(choice)
        if choice.gate.stop:
            return
    winner = choice.recommended
    if winner is None:
        output.line("nothing can be recommended")
        _section("nearest", choice.nearest)
    else:
        output.line(f"take {winner.name}{_weights(winner)}")
        _section("why", choice.why)
        if choice.runner_up:
            output.line(f"runner-up: {choice.runner_up.name}{_weights(choice.runner_up)}")
    _front(choice.front)
    some = choice.why_not if every else choice.why_not[:_SHOWN]
    _section("why not", (f"{one.model}: {says}" for one, says in some))
    if len(some) < len(choice.why_not):
        output.line(f"  ... and {len(choice.why_not) - len(some)} more: --all")
    _section("what would change the answer", (flip.says for flip in choice.flips))
    _section("where rules disagree", choice.conflicts)
    _advice(choice)
    _section("to know", choice.notes)
    _section("to settle it", choice.proposals)


def _gate(choice: Choice) -> None:
    gate = choice.gate
    assert gate is not None
    before = "instead of a vision backbone" if gate.stop else "before any network"
    output.line(f"{before}: {gate.kind}")
    output.line(f"  why: {gate.says}")
    output.line(f"  do: {gate.instead}")
    output.line(f"  source: {gate.source}")
    output.line(f"  doubt: {gate.doubt}")


def _weights(one: Candidate) -> str:
    return f", from {one.weights}" if one.weights else ", from scratch"


def _section(title: str, lines: Iterable[str]) -> None:
    some = list(lines)
    if some:
        output.line(f"{title}:")
    for text in some:
        output.line(f"  {text}")


def _front(front: Sequence[Candidate]) -> None:
    """Those that none beats on everything."""
    if not front:
        return
    from vertebra.choice.limits import AXES
    from vertebra.report.words import percent, si

    sizes = [axis for axis in AXES if axis.field in ("memory_mb", "file_mb")]

    output.line("within the limits and beaten by none on everything, each in its fastest engine:")
    rows = []
    fastest: dict[str, Candidate] = {}
    for one in front:  # the fastest come first
        fastest.setdefault(one.model, one)
    probed = any(one.logme is not None for one in fastest.values())
    for one in fastest.values():
        cost = one.cost
        if cost is None:
            continue
        value = one.accuracy.value if one.accuracy else None
        rows.append(
            [
                one.model,
                f"{one.engine} {one.precision}",
                one.accuracy.kind if one.accuracy else "unknown",
                percent(value, 1),
                f"{1e3 * cost.seconds:.2f}",
                f"{cost.images_per_second:.1f}",
                *(_of(axis, one) for axis in sizes),
                si(one.params),
                *(["-" if one.logme is None else f"{one.logme:.3f}"] if probed else []),
            ]
        )
    columns = ["model", "engine", "evidence", "accuracy", "ms", "images/s", "memory", "file"]
    output.table([*columns, "parameters", *(["LogME"] if probed else [])], rows, text=3)


def _of(axis: Axis, candidate: Candidate) -> str:
    """Its value in the unit that the limit has."""
    from vertebra.choice.limits import shown_value

    value = axis.of(candidate)
    return "-" if value is None else shown_value(axis, value)


def _advice(choice: Choice) -> None:
    """How to train it, a line a decision."""
    if not choice.advice:
        return
    output.line("how to train it:")
    for item in choice.advice["items"]:
        output.line(f"  {item['field']}: {item['value']}: {item['reason']}")
    for command in choice.advice["commands"]:
        output.line(f"  {command}")
