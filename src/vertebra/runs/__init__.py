"""What a training run is: recipe, folder, events, and what is found in it and in its data."""

from vertebra.runs.claim import claimed
from vertebra.runs.duration import Duration
from vertebra.runs.events import Event, Moment, Observer
from vertebra.runs.finding import Finding
from vertebra.runs.recipe import Recipe, list_recipes
from vertebra.runs.run import Run

__all__ = [
    "Duration",
    "Event",
    "Finding",
    "Moment",
    "Observer",
    "Recipe",
    "Run",
    "claimed",
    "list_recipes",
]
