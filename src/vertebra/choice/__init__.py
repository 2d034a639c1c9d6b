"""Requirement and evidence in, choice out, with a reason against every other network."""

from vertebra.choice.candidate import Accuracy, Candidate, Cost
from vertebra.choice.choice import Choice, Flip
from vertebra.choice.choose import choose
from vertebra.choice.facts import OnData
from vertebra.choice.gate import Gate, gate
from vertebra.choice.recipe import Advice, recipe
from vertebra.choice.requirement import Requirement

__all__ = [
    "Accuracy",
    "Advice",
    "Candidate",
    "Choice",
    "Cost",
    "Flip",
    "Gate",
    "OnData",
    "Requirement",
    "choose",
    "gate",
    "recipe",
]
