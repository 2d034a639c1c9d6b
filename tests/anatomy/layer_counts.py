"""What PyTorch counts of a layer: its parameters, and the products that it computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def counted(module: nn.Module) -> int:
    """Its parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def macs_of(call: Callable[..., Any], *inputs: Tensor) -> float:
    """Half the operations that PyTorch counts while it is called."""
    counter = FlopCounterMode(display=False)
    with counter:  # with gradients, or attention hides its products in one fused operation
        call(*inputs)
    return counter.get_total_flops() / 2
