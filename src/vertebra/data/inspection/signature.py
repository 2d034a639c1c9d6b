"""What an image looks like in a few bytes: a perceptual hash and a finer signature.

The hash is pHash as Zauner (2010, "Implementation and Benchmarking of Perceptual Image Hash
Functions") describes it and the library ``imagehash`` computes it: the picture in grey at 32x32
(Lanczos), its DCT-II, and of the 8x8 lowest frequencies, the mean among them, which ones lie above
their median. It finds candidates. 64 bits are too few to convict: among a million unrelated
pictures there are 5e11 pairs, and some agree by chance. So the signature, the 99 lowest frequencies
of that same DCT, has to agree too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32  # pixels of a side of what the hash is computed on
SIGNATURE = 99
_LOW, _FINE = 8, 10
# Standard deviation of the 32x32 grey levels below which a picture says nothing but noise.
LEAST_CONTRAST = 2.0
# How many frequencies share what there is to see, (sum of squares)^2 over the sum of fourth powers:
# below four a picture is a mere gradient, like that of every clear sky.
LEAST_DETAIL = 4.0


def _dct(size: int) -> NDArray[np.float64]:
    """DCT-II as rows (size, size), without scaling: ``imagehash`` has none either."""
    frequency, place = np.mgrid[0:size, 0:size]
    rows: NDArray[np.float64] = 2 * np.cos(np.pi * frequency * (2 * place + 1) / (2 * size))
    return rows


_ROWS = _dct(SIDE)[:_FINE]
# Natural images have amplitudes of about one over the frequency (Field, 1987). Undoing that lets
# fine structure speak as loudly as the coarse, which unrelated pictures often share.
_GAIN = np.hypot(*np.mgrid[0:_FINE, 0:_FINE])


class Look(NamedTuple):
    """``hash`` of 64 bits, the first frequency the highest bit.

    ``signature`` int8 (99,): the frequencies but the mean, whitened, the largest 127.
    """

    hash: int
    signature: NDArray[np.int8]


def look(image: Image.Image) -> Look | None:
    """Hash and signature of a picture; None where it is flat or a mere gradient.

    A picture with a side below 32 pixels is too small: it is the caller's to leave it out.
    """
    grey = image if image.mode == "L" else image.convert("L")
    small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    if small.std() < LEAST_CONTRAST:
        return None
    frequencies = _ROWS @ small @ _ROWS.T
    fine = (frequencies * _GAIN).reshape(-1)[1:]
    fine /= np.abs(fine).max()
    if np.sum(fine**2) ** 2 < LEAST_DETAIL * np.sum(fine**4):
        return None
    low = frequencies[:_LOW, :_LOW]
    bits = np.packbits(low > np.median(low))
    return Look(int.from_bytes(bits.tobytes(), "big"), np.rint(127 * fine).astype(np.int8))


def agreement(one: NDArray[np.int8], other: NDArray[np.int8]) -> NDArray[np.float64]:
    """Cosine (n,) between signatures (n, 99) of pairs; 1 is the same picture, 0 nothing alike."""
    a, b = one.astype(np.float32), other.astype(np.float32)
    products = np.einsum("ij,ij->i", a, b)
    lengths = np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b)
    found: NDArray[np.float64] = products.astype(np.float64) / np.sqrt(lengths.astype(np.float64))
    return found
