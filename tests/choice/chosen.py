"""A choice from a made-up store."""

from __future__ import annotations

import made_up
from vertebra.choice import Choice, OnData, Requirement, choose
from vertebra.evidence import Evidence


def chosen(store: Evidence, on_data: OnData | None = None, **asked: object) -> Choice:
    """For the requirement of these fields, on the made-up machine."""
    return choose(Requirement(**asked), store, machine=made_up.MACHINE, on_data=on_data)
