"""Several views of each image at test time, and the mean of what a network says of them.

Krizhevsky et al., 2012 (AlexNet), section 4.1: probabilities are averaged, not logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
from torch import Tensor

from vertebra.core import Preprocessing, VertebraError, unknown
from vertebra.data import DecodeError, Split
from vertebra.data.augment.tta import NAMES, views_of

_COUNTS = {"flip": 2, "ten_crop": 10}


def check_views(name: str, preprocessing: Preprocessing) -> None:
    """Refuse a name that is none, and crops that would be ten times the same.

    Raises:
        VertebraError: either.
    """
    if name not in NAMES:
        raise unknown("kind of test-time augmentation", name, NAMES)
    size, resize = preprocessing.size, preprocessing.resize
    if name == "ten_crop" and resize <= size:
        raise VertebraError(
            f"ten_crop has nothing to cut: the run resizes images to {resize} pixels and takes "
            f"{size} of them; data.resize above data.image_size is needed, or tta=flip"
        )


@dataclass(frozen=True, eq=False)
class ViewsSplit(Split):
    """A split in which each image stands ``count`` times in a row, once for each of its views.

    Batches of it are batches of views; ``preprocessing`` is the run's own, and what reads the
    split takes :attr:`of_a_view`.
    """

    views: str = ""
    preprocessing: Preprocessing | None = None
    _last: dict[int, Tensor | DecodeError] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, split: Split, views: str, preprocessing: Preprocessing) -> ViewsSplit:
        """The views of a split.

        Raises:
            VertebraError: as :func:`check_views`.
        """
        check_views(views, preprocessing)
        return cls(
            split.name,
            split.source,
            np.repeat(split.indices, _COUNTS[views]),
            split.channels,
            split.cache,
            views=views,
            preprocessing=preprocessing,
        )

    @property
    def count(self) -> int:
        """Views of an image."""
        return _COUNTS[self.views]

    @property
    def of_a_view(self) -> Preprocessing:
        """The preprocessing that leaves a view as it is cut."""
        own = cast(Preprocessing, self.preprocessing)
        return replace(own, resize=own.size)

    def read(self, place: int) -> Tensor:
        """One view of one image, uint8 (channels, size, size).

        Raises:
            DecodeError: the image cannot be decoded.
        """
        image, view = divmod(place, self.count)
        if image not in self._last:  # decoded once for all its views, which come in a row
            self._last.clear()
            self._last[image] = self._views(place)
        found = self._last[image]
        if isinstance(found, DecodeError):
            raise found
        return found[view]

    def _views(self, place: int) -> Tensor | DecodeError:
        try:
            decoded = super().read(place)
        except DecodeError as error:
            return error
        return views_of(decoded, self.views, cast(Preprocessing, self.preprocessing))


def mean_logits(logits: Tensor, count: int) -> Tensor:
    """Log of the mean probabilities: (N * count, classes), views in a row -> (N, classes) float32.

    They are logits of the mean: its probabilities by softmax, its loss by cross-entropy.
    """
    each = logits.double().log_softmax(dim=1).view(-1, count, logits.shape[1])
    return each.logsumexp(dim=1).sub(math.log(count)).float()
