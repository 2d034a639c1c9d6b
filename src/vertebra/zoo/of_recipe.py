"""The network of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vertebra.core import Preprocessing, VertebraError
from vertebra.zoo.create import create
from vertebra.zoo.registry import family_of, row_of
from vertebra.zoo.weights import find

if TYPE_CHECKING:
    from vertebra.nn import Backbone
    from vertebra.runs import Recipe
    from vertebra.zoo.family import Row


def row(recipe: Recipe) -> Row:
    """What was published of the network that a recipe asks for: its input size, its rates."""
    model = recipe.model
    return row_of(model.name, family_of(model.name).resolve_options(model.options))


def preprocessing(recipe: Recipe, weights: str | None) -> Preprocessing | None:
    """What images the recipe's weights were trained on; None without weights, or where unknown.

    Raises:
        VertebraError: the weights cannot be had.
    """
    return None if weights is None else find(recipe.model.name, weights).preprocessing


def build(recipe: Recipe, weights: str | None = None) -> Backbone:
    """The network that a resolved recipe asks for, with its initial weights or with ``weights``.

    Raises:
        VertebraError: the weights cannot be had, or do not fit.
    """
    model, data = recipe.model, recipe.data
    size, channels = data.image_size or 0, model.in_chans or 0
    # Checked here, since an option may be called as an argument of create is.
    options: dict[str, Any] = family_of(model.name).resolve_options(model.options)
    net = create(
        model.name,
        model.num_classes,
        model.in_chans,
        weights,
        dropout=model.dropout,
        drop_path=model.drop_path,
        input_size=(channels, size, size),
        seed=recipe.seed,
        **options,
    )
    if model.spatial_dropout:
        drop_channels(net, model.spatial_dropout)
    return net


def drop_channels(net: Backbone, rate: float) -> None:
    """Drop whole channels of the last stage's map in training (Tompson et al., 2014,
    arXiv:1411.4280, section 3.2).

    Raises:
        VertebraError: the network's stages give tokens and not maps.
    """
    from torch import nn

    from vertebra.nn import Backbone as Own

    if type(net).to_map is not Own.to_map or not len(net.stages):
        raise VertebraError(f"model.spatial_dropout needs maps, of which {net.name} has none")
    last = net.stages[-1]
    assert isinstance(last, nn.Sequential)
    last.append(nn.Dropout2d(rate))
