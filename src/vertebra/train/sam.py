"""Sharpness-aware minimisation (Foret et al., 2020, arXiv:2010.01412)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import nn


@contextlib.contextmanager
def ascended(parameters: Iterable[nn.Parameter], rho: float) -> Iterator[None]:
    """The weights moved by ``rho`` along the normalised gradient for the while (equation 2).

    The gradients are taken there once more by the caller, who clears them first; afterwards the
    weights are what they were, to the bit.
    """
    moved = [parameter for parameter in parameters if parameter.grad is not None]
    before = [parameter.detach().clone() for parameter in moved]
    with torch.no_grad():
        gradients = [parameter.grad for parameter in moved if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        for parameter, gradient in zip(moved, gradients, strict=True):
            parameter.add_(gradient * (rho / (norm + 1e-12)))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(moved, before, strict=True):
                parameter.copy_(value)
