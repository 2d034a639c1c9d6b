"""Tools for renaming a foreign state dict; what is renamed to what stands in the family's file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def by_prefix(state_dict: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """Replace the longest prefix that each name has, at a dot; names without one stay.

    ``prefixes`` maps "features.0" to "stem.0.conv"; both are without the closing dot.
    """
    renamed = {}
    for name, tensor in state_dict.items():
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            head = ".".join(parts[:length])
            if head in prefixes:
                parts[:length] = [prefixes[head]]
                break
        renamed[".".join(parts)] = tensor
    return renamed


def by_pattern(
    state_dict: Mapping[str, Tensor],
    table: Iterable[tuple[str, str | Callable[[re.Match[str]], str]]],
) -> dict[str, Tensor]:
    """Apply each (regular expression, replacement) to each name, in order."""
    table = tuple(table)
    renamed = {}
    for name, tensor in state_dict.items():
        for pattern, replacement in table:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def block_path(stage: int, place: int) -> str:
    """Our path, with the closing dot, of block ``place`` of a stage that begins by downsampling.

    The first stage does not; elsewhere another library counts without that first module.
    """
    return f"stages.{stage}.{place + (stage > 0)}."
