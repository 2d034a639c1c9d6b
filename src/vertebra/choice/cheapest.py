"""Which networks to measure where too few were measured to predict the others."""

from __future__ import annotations

from collections.abc import Container, Sequence

from vertebra.choice.candidate import Candidate


def cheapest_of_each_family(candidates: Sequence[Candidate], known: Container[str]) -> list[str]:
    """The cheapest of each family, then the second of each, ... that are not known yet."""
    by_family: dict[str, list[Candidate]] = {}
    for one in {one.model: one for one in candidates}.values():
        by_family.setdefault(one.family, []).append(one)
    ranked = [
        (place, one.gmacs, one.model)
        for some in by_family.values()
        for place, one in enumerate(sorted(some, key=lambda c: c.gmacs))
    ]
    return [model for _, _, model in sorted(ranked) if model not in known]
