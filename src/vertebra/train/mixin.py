"""Giving a module that stands in a network another behaviour."""

from __future__ import annotations

import functools
from typing import cast

from torch import nn


def mix_in(module: nn.Module, behaviour: type) -> None:
    """Let ``module`` do what the class ``behaviour`` says, and for the rest what it did.

    It stays the object that it is, with its name, parameters and buffers, so state dicts fit as
    before; only its class changes, to one that derives from both. Done again, it changes nothing.
    """
    if not isinstance(module, behaviour):
        module.__class__ = _both(behaviour, cast("type", type(module)))


@functools.cache
def _both(behaviour: type, kind: type) -> type:
    return type(f"{behaviour.__name__.lstrip('_')}{kind.__name__}", (behaviour, kind), {})
