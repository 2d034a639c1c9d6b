"""Where a run's weights start, and from whom it learns: that these stay what they were."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vertebra.core import Preprocessing, VertebraError, unknown
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


def with_checksums(recipe: Recipe) -> Recipe:
    """A resolved recipe with the checksums of the files that it starts from and learns from.

    Weights by a name of torchvision's or timm's are known by that name.

    Raises:
        VertebraError: the recipe has the checksum of another file.
    """
    check_weights(recipe)
    check_teacher(recipe)
    return recipe.override(
        **{
            "model.weights_sha256": _sha256(recipe.model.weights),
            "train.distill.teacher_sha256": _sha256(weights_path(recipe.train.distill.teacher)),
        }
    )


def check_weights(recipe: Recipe) -> None:
    """Refuse to start from other weights than the recipe was written down with.

    Raises:
        VertebraError: they are others.
    """
    then = recipe.model.weights_sha256
    _check("model.weights", recipe.model.weights, then, recipe.model.weights)


def check_teacher(recipe: Recipe) -> None:
    """Refuse to learn from another teacher than the recipe was written down with.

    Raises:
        VertebraError: it is another one, or gone.
    """
    distill = recipe.train.distill
    _check(
        "train.distill.teacher",
        distill.teacher,
        distill.teacher_sha256,
        weights_path(distill.teacher),
    )


def _check(key: str, name: str | None, then: str | None, file: str | None) -> None:
    if then is None:
        return
    now = _sha256(file)
    if now != then:
        raise VertebraError(
            f"{key} {name} is not what it was when the recipe was written down (SHA-256 "
            f"{then[:12]} then, {now[:12] if now else 'no file'} now); name it anew to take it"
        )


def _sha256(file: str | None) -> str | None:
    """Of a file; None for anything else, such as a name of published weights."""
    if file is None or not Path(file).is_file():
        return None
    with Path(file).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
