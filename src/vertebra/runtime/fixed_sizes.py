"""Sizes as plain numbers while a network is traced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_COUNTS: tuple[Callable[..., Any], ...] = (Tensor.size, Tensor.numel, Tensor.__len__)


class FixedSizes(TorchFunctionMode):
    """Tensors tell their sizes as integers, not as tensors that the tracer follows.

    It would write arithmetic on sizes into the file, and there ``//`` rounds towards zero: the
    padded size of a 7-pixel map in MobileViT, ``-(-7 // 2) * 2``, becomes 6 instead of 8.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the function; what it says of sizes are integers."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Size):
            return torch.Size([int(extent) for extent in result])
        return int(result) if func in _COUNTS else result
