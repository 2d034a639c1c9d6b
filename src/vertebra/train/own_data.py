"""The data of a run, found again."""

from __future__ import annotations

from pathlib import Path

from vertebra.core import VertebraError
from vertebra.data import DecodeError, ImageDataset, Split, open_dataset
from vertebra.runs import Recipe, Run

# Images whose bytes are compared at least, of those that are alike in name and size.
LOOKED_AT = 256


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

    Compared are the fingerprints, of names, sizes, labels and splits, so that a copy counts; and,
    while the run's own place is there as it was, the bytes of at least 256 images: a camera numbers
    its pictures, and those without compression have one size. None: it is other data, or cannot be
    opened to train on.
    """
    recipe = run.recipe.override(**{"data.source": str(data)})
    try:
        dataset = dataset_of(recipe, keep=False)
    except VertebraError:  # to judge on it a single class is enough
        return None
    if dataset.card.fingerprint != run.card["fingerprint"]:
        return None
    try:
        own = unchanged_dataset(run, keep=False)
    except VertebraError:  # moved, perhaps
        return dataset
    train = own.train
    places = range(0, len(train), max(len(train) // LOOKED_AT, 1))
    same = all(same_bytes(train, place, dataset.train, place) for place in places)
    return dataset if same else None


def same_bytes(one: Split, place: int, other: Split, there: int) -> bool:
    """Whether two encoded images are equal; not if one of them cannot be read."""
    try:
        content = one.encoded(place)
        return content is not None and content == other.encoded(there)
    except DecodeError:
        return False


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
