"""Quantities as a person types them."""

from __future__ import annotations

import re

from vertebra.core.errors import VertebraError

_UNITS = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
    **{prefix: 1024**power for power, prefix in enumerate("KMGT", start=1)},
}


def parse_bytes(text: str) -> int:
    """ "16GiB" or "16G" -> 17179869184, "16GB" -> 16000000000.

    Raises:
        VertebraError: it is no such amount.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    unit = match[2].upper() if match else None
    if match is None or unit not in _UNITS:
        raise VertebraError(f"an amount of memory is like 16GiB, 800M or 16GB, got '{text}'")
    number = int(float(match[1]) * _UNITS[unit])
    if number < 1:
        raise VertebraError(f"an amount of memory is at least a byte, got '{text}'")
    return number


def parse_shape(text: str) -> tuple[int, ...]:
    """ "3x224x224" -> (3, 224, 224).

    Raises:
        VertebraError: it is no such shape.
    """
    parts = re.split(r"\s*[x,]\s*", text.strip().lower())
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise VertebraError(f"a shape is like 3x224x224, got '{text}'")
    return tuple(int(part) for part in parts)
