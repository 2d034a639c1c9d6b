"""One look at each image: what is found goes into arrays, one entry an image."""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vertebra.data.decode import DecodeError, decode_bytes
from vertebra.data.inspection.signature import SIDE, SIGNATURE, look
from vertebra.data.photographs import picture
from vertebra.data.sources import Source
from vertebra.machine import usable_cores

# Images that one thread looks at before it reports.
_AT_ONCE = 32
_LEVELS = np.arange(256, dtype=np.int64)


class Words:
    """Numbers of words that threads share; ``words`` are those so far."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self._adding = threading.Lock()

    def number(self, word: str) -> int:
        """The number of a word, which may be new."""
        with self._adding:  # or two new words of two threads could get one number
            return self._number.setdefault(word, len(self._number))

    @property
    def words(self) -> list[str]:
        """The word of each number."""
        return list(self._number)


@dataclass(frozen=True)
class Scan:
    """What was found of N images of a source; about 220 bytes each.

    Attributes:
        indices: their places in the source (N,), ascending.
        channels: C, with which they were read.
        seen: which of them could be decoded (N,).
        widths, heights: in pixels (N,), upright.
        bytes: of the files (N,); 0 where there are none.
        formats, reasons: numbers into ``format_words`` and ``reason_words``; a reason where it was
            not ``seen``.
        grey: which have three equal channels in every pixel (N,); all False where C is 1.
        means, squares: mean of the values and of their squares (N, C), values in [0, 1].
        digests: BLAKE2b of 128 bits of the file, or of size and pixels where there is none (N, 2).
        hashed: which have a hash (N,); tiny and flat ones have none.
        hashes, signatures: see :mod:`.signature`; (N,), (N, 99).
    """

    indices: NDArray[np.int64]
    channels: int
    seen: NDArray[np.bool_]
    widths: NDArray[np.int32]
    heights: NDArray[np.int32]
    bytes: NDArray[np.int64]
    formats: NDArray[np.int32]
    reasons: NDArray[np.int32]
    grey: NDArray[np.bool_]
    means: NDArray[np.float64] = field(repr=False)
    squares: NDArray[np.float64] = field(repr=False)
    digests: NDArray[np.uint64] = field(repr=False)
    hashed: NDArray[np.bool_] = field(repr=False)
    hashes: NDArray[np.uint64] = field(repr=False)
    signatures: NDArray[np.int8] = field(repr=False)
    format_words: Words = field(default_factory=Words, repr=False)
    reason_words: Words = field(default_factory=Words, repr=False)

    @classmethod
    def empty(cls, indices: NDArray[np.int64], channels: int) -> Scan:
        """Nothing found yet."""
        n = len(indices)
        return cls(
            indices=indices,
            channels=channels,
            seen=np.zeros(n, dtype=np.bool_),
            widths=np.zeros(n, dtype=np.int32),
            heights=np.zeros(n, dtype=np.int32),
            bytes=np.zeros(n, dtype=np.int64),
            formats=np.zeros(n, dtype=np.int32),
            reasons=np.zeros(n, dtype=np.int32),
            grey=np.zeros(n, dtype=np.bool_),
            means=np.zeros((n, channels)),
            squares=np.zeros((n, channels)),
            digests=np.zeros((n, 2), dtype=np.uint64),
            hashed=np.zeros(n, dtype=np.bool_),
            hashes=np.zeros(n, dtype=np.uint64),
            signatures=np.zeros((n, SIGNATURE), dtype=np.int8),
        )

    def take(self, at: int, source: Source) -> None:
        """Look at image ``at`` of the N; what cannot be decoded gets its reason."""
        index = int(self.indices[at])
        try:
            content = source.encoded(index)
            if content is None:  # no file; or none any more, which read says
                image, kind = source.read(index, self.channels), "no file"
            else:
                image = decode_bytes(content, source.ids[index], self.channels)
                kind = _kind(content)
        except DecodeError as error:
            self.reasons[at] = self.reason_words.number(error.reason)
            return
        self.bytes[at] = 0 if content is None else len(content)
        self.digests[at] = _digest(_whole(image) if content is None else content)
        self.formats[at] = self.format_words.number(kind)
        self._pixels(at, image)
        self.seen[at] = True

    def _pixels(self, at: int, image: Tensor) -> None:
        _, self.heights[at], self.widths[at] = image.shape
        drawn = picture(image) if self.channels == 3 else Image.fromarray(image[0].numpy())
        # Exact: counts of the 256 values, and no rounding before the last division.
        counts = np.array(drawn.histogram(), dtype=np.int64).reshape(self.channels, 256)
        pixels = image.shape[1] * image.shape[2]
        self.means[at] = counts @ _LEVELS / (255 * pixels)
        self.squares[at] = counts @ _LEVELS**2 / (255**2 * pixels)
        self.grey[at] = self.channels == 3 and _is_grey(image, counts)
        found = look(drawn) if min(drawn.size) >= SIDE else None
        if found is not None:
            self.hashed[at] = True
            self.hashes[at], self.signatures[at] = found


def scan(
    source: Source,
    indices: NDArray[np.int64],
    channels: int,
    progress: Callable[[int, int], None] | None = None,
) -> Scan:
    """Decode each image once; threads share the cores.

    ``progress`` is called with (done, total). Ctrl-C ends it after the images at hand.
    """
    found, total = Scan.empty(indices, channels), len(indices)
    stopped = False

    def some(first: int) -> None:
        for at in range(first, min(first + _AT_ONCE, total)):
            if stopped:
                return
            found.take(at, source)

    pool = ThreadPoolExecutor(usable_cores())
    try:
        firsts = range(0, total, _AT_ONCE)
        for first, _ in zip(firsts, pool.map(some, firsts), strict=True):
            if progress is not None:
                progress(min(first + _AT_ONCE, total), total)
    finally:
        stopped = True
        pool.shutdown(wait=False, cancel_futures=True)
    return found


def _is_grey(image: Tensor, counts: NDArray[np.int64]) -> bool:
    red, green, blue = image
    # Where the counts differ the planes do, and nearly all colour pictures are told by that.
    if (counts != counts[0]).any():
        return False
    return torch.equal(red, green) and torch.equal(green, blue)


def _digest(content: bytes) -> NDArray[np.uint64]:
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return np.frombuffer(digest, dtype=np.uint64)


def _whole(image: Tensor) -> bytes:
    """Size and pixels."""
    return str(tuple(image.shape)).encode() + image.numpy().tobytes()


def _kind(content: bytes) -> str:
    """Format and mode by the file's own header, as "JPEG RGB"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(content)) as opened:
                return f"{opened.format} {opened.mode}"
        except (OSError, SyntaxError, ValueError):
            return "unknown"  # decoded, but not by Pillow
