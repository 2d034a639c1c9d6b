"""The average of the weights over the steps."""

from __future__ import annotations

import torch
from torch import nn


class WeightAverage:
    """An exponential moving average of a network's parameters; buffers follow the network.

    ``average = decay * average + (1 - decay) * weights`` after every ``every`` steps, with a decay
    that grows from 0.18 as (1 + t) / (10 + t) over the updates t, so that the first, random weights
    are soon forgotten.
    """

    def __init__(self, net: nn.Module, decay: float, every: int = 1) -> None:
        self.decay = decay
        self.every = every
        self.tensors = {name: value.detach().clone() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Move towards ``net`` after optimiser step ``step`` (counted from 1)."""
        if step % self.every:
            return
        updates = step // self.every
        decay = min(self.decay, (1 + updates) / (10 + updates))
        learnt = {name for name, _ in net.named_parameters()}
        for name, value in net.state_dict().items():
            average = self.tensors[name]
            if name in learnt:
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)
