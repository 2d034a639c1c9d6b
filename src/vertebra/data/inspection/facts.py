"""What the numbers of all images come to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vertebra.data.inspection.scan import Scan

SMALL = (32, 64, 224)
FEW = 10  # training images below which a class counts as small
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Sizes:
    """Least, median and largest width, height and aspect ratio (width over height).

    ``below`` maps a number of pixels to how many images have a shorter side below it. ``short`` is
    the median of the shorter sides, ``alike`` whether all images have one size.
    """

    width: Triple
    height: Triple
    aspect: Triple
    below: dict[int, int]
    short: float
    alike: bool


@dataclass(frozen=True)
class Balance:
    """How evenly training images are spread over the classes.

    ``ratio``: largest class over smallest. ``effective``: exp of the entropy of the classes'
    shares, the number of equal classes that would be as mixed. ``few``: training images of the
    classes with fewer than 10.
    """

    largest: tuple[str, int]
    smallest: tuple[str, int]
    ratio: float
    effective: float
    few: dict[str, int]


@dataclass(frozen=True)
class Facts:
    """Of the images that could be decoded; ``None`` where there are none of them.

    ``mean`` and ``std`` a channel are those of the training images as they are, values in [0, 1].
    Each image weighs the same whatever its size, since training sees crops of one size: the
    distribution is that of a pixel drawn from an image drawn at random.
    """

    images: int
    bytes: int
    formats: dict[str, int]
    grey: int
    sizes: Sizes | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    balance: Balance

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def facts(scan: Scan, training: NDArray[np.bool_], counts: dict[str, int]) -> Facts:
    """The facts of a scan; ``training`` (N,) are its images to train on, ``counts`` by class."""
    seen = scan.seen
    mean, std = _statistics(scan, training & seen)
    return Facts(
        images=int(seen.sum()),
        bytes=int(scan.bytes.sum()),
        formats=_by_word(scan),
        grey=int(scan.grey.sum()),
        sizes=_sizes(scan.widths[seen], scan.heights[seen]) if seen.any() else None,
        mean=mean,
        std=std,
        balance=balance(counts),
    )


def _by_word(scan: Scan) -> dict[str, int]:
    """Images of each format and mode, most frequent first."""
    words = scan.format_words.words
    counts = np.bincount(scan.formats[scan.seen], minlength=len(words)).tolist()
    pairs = zip(words, counts, strict=True)
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _sizes(widths: NDArray[np.int32], heights: NDArray[np.int32]) -> Sizes:
    short = np.minimum(widths, heights)
    return Sizes(
        width=_triple(widths),
        height=_triple(heights),
        aspect=_triple(widths / heights),
        below={side: int((short < side).sum()) for side in SMALL},
        short=float(np.median(short)),
        alike=bool((widths == widths[0]).all() and (heights == heights[0]).all()),
    )


def _triple(values: NDArray[Any]) -> Triple:
    return float(values.min()), float(np.median(values)), float(values.max())


def _statistics(
    scan: Scan, chosen: NDArray[np.bool_]
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    if not chosen.any():
        return None, None
    mean = scan.means[chosen].mean(axis=0)
    variance = scan.squares[chosen].mean(axis=0) - mean**2
    return tuple(mean.tolist()), tuple(np.sqrt(np.maximum(variance, 0)).tolist())


def balance(counts: dict[str, int]) -> Balance:
    """The balance of training images by class."""
    largest = max(counts.items(), key=lambda pair: pair[1])
    smallest = min(counts.items(), key=lambda pair: pair[1])
    shares = np.array([count for count in counts.values() if count], dtype=np.float64)
    shares /= shares.sum()
    return Balance(
        largest=largest,
        smallest=smallest,
        ratio=largest[1] / max(smallest[1], 1),
        effective=float(np.exp(-(shares * np.log(shares)).sum())),
        few={name: count for name, count in counts.items() if count < FEW},
    )
