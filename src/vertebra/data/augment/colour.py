"""Jitter of brightness, contrast and saturation: Krizhevsky et al.'s and Howard's colour noise."""

from __future__ import annotations

import torch
from torch import Tensor

from vertebra.data.augment import operations as op

_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)


def random_jitter(image: Tensor, strength: float) -> Tensor:
    """uint8 (C, H, W) with brightness, contrast and saturation scaled in a random order.

    Each factor is uniform in [max(0, 1 - strength), 1 + strength] (Howard, 2013, arXiv:1312.5402).
    Draws what ``v2.ColorJitter(strength, strength, strength)`` draws, from the global generator. A
    grey image has no saturation: the factor is drawn and nothing is done.
    """
    order = torch.randperm(_HUE + 1).tolist()  # of four as theirs, hue left out
    low, high = max(0.0, 1 - strength), 1 + strength
    factors = [torch.empty(1).uniform_(low, high).item() for _ in range(3)]
    for kind in order:
        if kind == _BRIGHTNESS:
            image = op.brightness(image, factors[kind])
        elif kind == _CONTRAST:
            image = op.contrast(image, factors[kind])
        elif kind == _SATURATION:
            image = op.saturation(image, factors[kind])
    return image
