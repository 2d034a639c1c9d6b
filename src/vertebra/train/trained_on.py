"""How many of the images that are to be judged a run was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vertebra.core import VertebraError
from vertebra.data import Split
from vertebra.runs import Run
from vertebra.train import own_data
from vertebra.train.own_data import same_bytes, unchanged_dataset


def notes_on(run: Run, judged: Split) -> tuple[str, ...]:
    """What there is to say of a split of other data than the run's own: how many it was trained on.

    An image is one of those if it lies in the same place, or if its name and its size in bytes are
    those of a training image and so are its bytes. Of many such the bytes of at least 256, evenly
    spread, are compared, and what is so of these is taken to be so of all. Nothing is decoded.
    """
    if _kind(judged.source.name) != _kind(run.recipe.data.source):
        return ()
    try:
        train = unchanged_dataset(run, keep=False).train
    except VertebraError as error:
        return (f"whether some of these images were trained on is not known: {error}",)
    count, about = _count(train, judged)
    if not count:
        return ()
    return (f"{about}{count} of the {len(judged)} images judged were trained on",)


def _kind(name: str) -> str:
    """Sources of different kinds share no names.

    Nor do tables of different places: to compare them would be to fetch what lies on the hub.
    """
    if name.startswith("hf:"):
        return name.partition("?")[0]
    return name if name == "digits" else "wds:" * name.startswith("wds:")


def _count(train: Split, judged: Split) -> tuple[int, str]:
    """How many of the images judged are to be trained on, and "about " if that is an estimate."""
    same_place = _found(train, judged, train.source.place, judged.source.place) >= 0
    partners = _found(train, judged, train.source.stamp, judged.source.stamp)
    alike = np.flatnonzero(~same_place & (partners >= 0))
    looked_at = alike[:: max(len(alike) // own_data.LOOKED_AT, 1)]
    equal = sum(
        same_bytes(judged, place, train, int(partners[place])) for place in looked_at.tolist()
    )
    sure = equal in (0, len(looked_at)) or len(looked_at) == len(alike)
    estimate = round(len(alike) * equal / max(len(looked_at), 1))
    return int(same_place.sum()) + estimate, "" if sure else "about "


def _found(
    train: Split, judged: Split, known: Callable[[int], str], asked: Callable[[int], str]
) -> NDArray[np.int64]:
    """The place in ``train`` of what each image judged (n,) is called too; -1: there is none."""
    names, wanted = _hashes(train, known), _hashes(judged, asked)
    order = np.argsort(names)
    at = np.searchsorted(names, wanted, sorter=order).clip(max=len(names) - 1)
    return np.where(names[order[at]] == wanted, order[at], -1)


def _hashes(split: Split, name: Callable[[int], str]) -> NDArray[np.uint64]:
    """64 bits of each image's name (n,): a million strings would take 100 MB and more."""

    def short(text: str) -> int:
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())

    hashes = (short(name(int(index))) for index in split.indices)
    return np.fromiter(hashes, dtype=np.uint64, count=len(split))
