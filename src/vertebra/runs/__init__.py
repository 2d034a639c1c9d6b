"""What a training run is: the recipe that defines it, the folder that holds it, its events."""

from vertebra.runs.claim import claimed
from vertebra.runs.duration import Duration
from vertebra.runs.events import Event, Moment, Observer
from vertebra.runs.recipe import Recipe, list_recipes
from vertebra.runs.run import Run

__all__ = ["Duration", "Event", "Moment", "Observer", "Recipe", "Run", "claimed", "list_recipes"]
