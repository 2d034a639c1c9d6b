"""Random numbers with an address.

A draw is named by what it is for, not by how many draws came before it. So the numbers do not
depend on the number of workers, on the order in which files were listed, or on a kill in between,
and there is no generator state to save.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def _digest(seed: int, purpose: str, counters: tuple[int | str, ...]) -> bytes:
    """128 bits that depend on every part of the address and on where one part ends."""
    state = hashlib.blake2b(digest_size=16)
    for part in (int(seed), purpose, *counters):
        # The type and the length go in too: (1, "2") and ("12",) are different addresses.
        tag = b"s" if isinstance(part, str) else b"i"
        text = str(part).encode()
        state.update(tag + len(text).to_bytes(4, "little") + text)
    return state.digest()


def address(seed: int, purpose: str, *counters: int | str) -> int:
    """A 63-bit seed for generators that take one, such as ``torch.manual_seed``.

    Example: ``address(seed, "augment", epoch, sample_id, repeat)``.
    """
    return int.from_bytes(_digest(seed, purpose, counters)[:8], "little") >> 1


def rng(seed: int, purpose: str, *counters: int | str) -> np.random.Generator:
    """A NumPy generator at an address: Philox (Salmon et al., 2011) keyed by the hashed address."""
    # Imported here: the catalogue is listed without NumPy, which takes a tenth of a second.
    import numpy as np

    key = int.from_bytes(_digest(seed, purpose, counters), "little")
    return np.random.Generator(np.random.Philox(key=key))
