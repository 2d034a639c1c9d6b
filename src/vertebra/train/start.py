"""Where a run's weights start."""

from __future__ import annotations

from pathlib import Path

from vertebra.core import Preprocessing, unknown
from vertebra.runs import Recipe, Run
from vertebra.train.checkpoint import EMA, WEIGHTS
from vertebra.zoo import of_recipe


def pretrained_preprocessing(recipe: Recipe) -> Preprocessing | None:
    """What images the recipe's weights were trained on; None without weights, or where unknown.

    Raises:
        VertebraError: the weights cannot be had.
    """
    weights = recipe.model.weights
    folder = Path((weights or "").partition("@")[0])
    if weights is not None and folder.is_dir():
        return Run.open(folder).preprocessing
    return of_recipe.preprocessing(recipe, weights)


def weights_path(weights: str | None) -> str | None:
    """What :func:`vertebra.zoo.create` takes: a run's folder becomes the file of its checkpoint.

    ``runs/x`` is its best checkpoint, the averaged weights if it kept any; ``runs/x@last`` the
    weights of the last one, as they were trained. Anything else stays.

    Raises:
        VertebraError: a run that has no such checkpoint.
    """
    if weights is None:
        return None
    path, _, which = weights.partition("@")
    if not Path(path).is_dir():
        return weights
    if which not in ("", "best", "last"):
        raise unknown("checkpoint", which, ("best", "last"))
    folder = Run.open(path).checkpoint(which or "best")
    average = folder / EMA
    return str(average if average.is_file() and which != "last" else folder / WEIGHTS)
