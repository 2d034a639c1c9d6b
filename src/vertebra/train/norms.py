"""Batch norms that do not learn: statistics and weights stay what they are."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vertebra.train.mixin import mix_in

# Below so many images a batch norm's statistics of a batch are too rough to fine-tune with (Wu and
# He, 2018, arXiv:1803.08494, figure 1: the error rises from 16 images down).
LEAST_IMAGES = 16


class _Frozen:
    """In evaluation mode whatever is asked for."""

    def train(self, mode: bool = True) -> nn.Module:
        module: nn.Module = super().train(False)  # type: ignore[misc]
        return module


def freeze_norms(net: nn.Module) -> int:
    """Keep every batch norm as it is, also through ``net.train()``; returns how many there are.

    They stay in evaluation mode. Weight and bias no longer ask for gradients.
    """
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        mix_in(norm, _Frozen)
        norm.train()
        for parameter in norm.parameters(recurse=False):
            parameter.requires_grad_(False)
    return len(norms)
