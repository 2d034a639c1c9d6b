"""What a recipe says of the process that runs it: device, threads, kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.utils.deterministic

from vertebra.runs import Recipe


def device_of(recipe: Recipe, local: int | None = None) -> torch.device:
    """The recipe's device if it is to be had here, else the CPU.

    ``local``: this process's number on its machine, where several share it: its own GPU.
    """
    device = torch.device(recipe.train.device or "cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        return torch.device("cpu")
    if device.type == "cuda" and local is not None:
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    return device


@contextlib.contextmanager
def settings(recipe: Recipe) -> Iterator[None]:
    """The recipe's threads, deterministic kernels, the caller's generator kept: for the while."""
    # A module whose one attribute is a property, which type checkers do not see.
    deterministic_settings: Any = torch.utils.deterministic
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = deterministic_settings.fill_uninitialized_memory
    with torch.random.fork_rng():
        try:
            torch.set_num_threads(recipe.train.threads or threads)
            # Only a warning where an operation has no deterministic form on its device.
            torch.use_deterministic_algorithms(True, warn_only=True)
            deterministic_settings.fill_uninitialized_memory = False
            yield
        finally:
            deterministic_settings.fill_uninitialized_memory = fill
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.set_num_threads(threads)
