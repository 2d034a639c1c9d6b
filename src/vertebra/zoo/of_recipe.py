"""The network of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vertebra.zoo.create import create
from vertebra.zoo.registry import family_of, row_of

if TYPE_CHECKING:
    from vertebra.nn import Backbone
    from vertebra.runs import Recipe
    from vertebra.zoo.family import Row


def row(recipe: Recipe) -> Row:
    """What was published of the network that a recipe asks for: its input size, its rates."""
    model = recipe.model
    return row_of(model.name, family_of(model.name).resolve_options(model.options))


def build(recipe: Recipe) -> Backbone:
    """The network that a resolved recipe asks for, with its initial weights."""
    model, data = recipe.model, recipe.data
    size, channels = data.image_size or 0, model.in_chans or 0
    # Checked here, since an option may be called as an argument of create is.
    options: dict[str, Any] = family_of(model.name).resolve_options(model.options)
    return create(
        model.name,
        model.num_classes,
        model.in_chans,
        dropout=model.dropout,
        drop_path=model.drop_path,
        input_size=(channels, size, size),
        seed=recipe.seed,
        **options,
    )
