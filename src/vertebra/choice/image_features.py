"""Features of the user's images by a candidate: pooled vectors, labels, names and groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vertebra.choice.probe import Probe, probe
from vertebra.core import VertebraError, address
from vertebra.report.words import plural

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vertebra.data import Skipped, Split
    from vertebra.nn import Backbone

# Images that features are taken of where nothing is said.
LIMIT = 2_000
AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Features:
    """The pooled vectors (n, d) of images, their labels (n,), names, and groups (n,) if any.

    ``skipped``: images that could not be decoded, and so are not among them.
    """

    vectors: NDArray[np.float64]
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
    groups: NDArray[np.int64] | None
    skipped: tuple[Skipped, ...] = ()

    def probe(self, folds: int = 5, seed: int = 0) -> Probe:
        """:func:`probe` of them."""
        found = probe(self.vectors, self.labels, self.groups, folds, seed, ids=self.ids)
        if not self.skipped:
            return found
        broken = plural(len(self.skipped), "image")
        note = f"{broken} could not be decoded, and nothing is known of them"
        return replace(found, notes=(*found.notes, note))


def features_of(
    net: Backbone, split: Split, limit: int | None = LIMIT, *, seed: int = 0
) -> Features:
    """The pooled vectors of a split's images, as the network's own preprocessing shows them.

    Args:
        net: runs in evaluation mode, where it lies, and is left in the mode it was in.
        split: whose images.
        limit: of how many at most: every class in proportion, whole groups; None: of all.
        seed: of which.

    Raises:
        VertebraError: a limit below the number of classes, images of other channels than the
            network takes, or none that can be decoded.
    """
    import numpy as np
    import torch

    from vertebra.data import evaluation_batches, normalise

    preprocessing = net.preprocessing
    if preprocessing.channels != split.channels:
        raise VertebraError(
            f"{net.name} takes images of {preprocessing.channels} channels, and those of "
            f"{split.source.name} are read with {split.channels}"
        )
    chosen = _chosen(split, limit, seed)
    like, training = next(net.parameters()), net.training
    vectors, places, broken = [], [], dict[Any, None]()
    net.eval()
    try:
        with torch.no_grad():
            for batch in evaluation_batches(chosen, preprocessing, AT_ONCE):
                broken.update(dict.fromkeys(batch.broken))
                if len(batch.labels):
                    pixels = normalise(batch.images.to(like.device), preprocessing, False)
                    vectors.append(net.embed(pixels.to(like.dtype)).flatten(1).double().cpu())
                    places.append(batch.places)
    finally:
        net.train(training)
    if not vectors:
        raise VertebraError(f"none of the images of {split.source.name} can be decoded")
    shown = torch.cat(places).numpy()
    groups = split.source.groups
    return Features(
        vectors=torch.cat(vectors).numpy(),
        labels=chosen.labels[shown],
        ids=tuple(chosen.id(place) for place in shown.tolist()),
        groups=None if groups is None else groups[chosen.indices[shown]].astype(np.int64),
        skipped=tuple(broken),
    )


def _chosen(split: Split, limit: int | None, seed: int) -> Split:
    """So many of a split's images at most."""
    import numpy as np

    from vertebra.data import stratified_split

    if limit is None or limit >= len(split):
        return split
    classes = len(np.unique(split.labels))
    if limit < classes:
        raise VertebraError(f"{limit} images cannot show {classes} classes; take more")
    names = [split.id(place) for place in range(len(split))]
    groups = split.source.groups
    # What is left over is called "train", and keeps at least one of every class.
    taken = stratified_split(
        names,
        split.labels,
        {"rest": 1 - limit / len(split)},
        address(seed, "probe", "limit"),
        None if groups is None else groups[split.indices],
    )["train"]
    return replace(split, indices=split.indices[taken])
