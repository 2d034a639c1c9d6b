"""The data of a run, found again."""

from __future__ import annotations

from pathlib import Path

from vertebra.core import VertebraError
from vertebra.data import ImageDataset, open_dataset
from vertebra.runs import Recipe, Run


def dataset_of(recipe: Recipe, keep: bool = True) -> ImageDataset:
    """The data that a recipe names, divided as it says; ``keep`` decoded images or do not.

    Raises:
        VertebraError: nothing usable is there.
    """
    data = recipe.data
    return open_dataset(
        data.source,
        data.split_seed,
        channels=data.channels,
        # What is decoded to fit a crop fits no other.
        cache=(data.cache or "ram") if keep and data.decode == "full" else "none",
        cache_gib=data.cache_gib,
        cache_folder=Path(data.cache_folder) if data.cache_folder else None,
        folds=data.folds,
        fold=data.fold,
    )


def same_dataset(run: Run, data: str | Path) -> ImageDataset | None:
    """The run's data, if that is what lies at ``data``, however the place is written.

    Compared are the fingerprints, of names, sizes, labels and splits, so that a copy counts, and
    the run's own place need not be there any more. None: it is other data, or cannot be opened to
    train on.
    """
    recipe = run.recipe.override(**{"data.source": str(data)})
    try:
        dataset = dataset_of(recipe, keep=False)
    except VertebraError:  # to judge on it a single class is enough
        return None
    return dataset if dataset.card.fingerprint == run.card["fingerprint"] else None


def unchanged_dataset(run: Run, keep: bool = True) -> ImageDataset:
    """The run's data with its splits; ``keep`` decoded images or do not.

    Raises:
        VertebraError: it is not what it was, so the splits would not be those that were held out.
    """
    dataset = dataset_of(run.recipe, keep)
    then, now = run.card["fingerprint"], dataset.card.fingerprint
    if then != now:
        raise VertebraError(
            f"{run.path} was trained on other data: {dataset.source.name} has changed since "
            f"(fingerprint {then[:8]} then, {now[:8]} now)"
        )
    return dataset
