"""The network that a target names, with numbers that every layer makes something of."""

from __future__ import annotations

import torch
from torch import nn

from vertebra.core import rng
from vertebra.zoo.subjects import subject


def network(target: str, shape: tuple[int, ...]) -> nn.Module:
    """The network, for images of ``shape`` (batch, channels, height, width), in eval mode.

    Every process that asks gets the same numbers. Many networks start with parts that do nothing
    (a residual branch scaled by zero, a head of zeros), which would hide what an engine gets wrong;
    they are stirred.
    """
    channels, height, width = shape[1:]
    torch.manual_seed(0)  # for networks of a user's own code
    net, _ = subject(target, (channels, height, width), numbers=True)
    return stirred(net.eval())


@torch.no_grad()
def stirred(net: nn.Module) -> nn.Module:
    """Every parameter and statistic that is one number throughout is drawn about it instead."""
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        if (
            tensor.is_floating_point()
            and tensor.numel() > 1
            and bool((tensor == tensor.min()).all())
        ):
            noise = rng(0, "bench", name).normal(size=tuple(tensor.shape))
            tensor.add_(torch.from_numpy(noise).to(tensor.dtype), alpha=0.05)
    return net
