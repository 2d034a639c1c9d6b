"""The data of a run, found again."""

from __future__ import annotations

from vertebra.core import VertebraError
from vertebra.data import ImageDataset, Skipped, open_dataset
from vertebra.runs import Run


def unchanged_dataset(run: Run, keep_gib: float | None = None) -> ImageDataset:
    """The run's data with its splits, less what was skipped then.

    ``keep_gib``: memory for decoded images; None: what the recipe says.

    Raises:
        VertebraError: it is not what it was, so the splits would not be those that were held out.
    """
    recipe, card = run.recipe.data, run.card
    broken = [Skipped(**entry) for entry in card["skipped"]]
    dataset = open_dataset(
        recipe.source,
        recipe.split_seed,
        channels=recipe.channels,
        known_broken=broken,
        keep_gib=recipe.keep_gib if keep_gib is None else keep_gib,
    )
    then, now = card["fingerprint"], dataset.card.fingerprint
    if then != now:
        raise VertebraError(
            f"{run.path} was trained on other data: {dataset.source.name} has changed since "
            f"(fingerprint {then[:8]} then, {now[:8]} now)"
        )
    return dataset
