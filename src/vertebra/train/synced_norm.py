"""Batch norm over the batch of all processes, on any device.

torch's SyncBatchNorm takes tensors of accelerators only; on the CPU this one does the same with a
differentiable sum over the processes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vertebra.train.mixin import mix_in


class _SumOverProcesses(torch.autograd.Function):
    """y = sum of x over all processes; every process's x takes part in every process's y, so the
    gradient is the sum of all gradients.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        total: Tensor = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


class _Synced:
    """A batch norm (Ioffe and Szegedy, 2015, algorithm 1) whose batch is that of all processes.

    Variance in a second pass over the differences from the mean: the mean of squares less the
    square of the mean loses digits.
    """

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor, float]:
        """Mean and biased variance (C,) of x (N, C, ...) over all processes; how many values."""
        axes = [0, *range(2, x.ndim)]
        local = torch.cat([x.sum(axes), x.new_tensor([x.numel() / x.shape[1]])])
        total = _sum(local)
        count = total[-1].detach()
        mean = total[:-1] / count
        centred = x - mean.view(1, -1, *[1] * (x.ndim - 2))
        variance = _sum(centred.square().sum(axes)) / count
        return mean, variance, float(count)

    def forward(self: Any, x: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized() and dist.get_world_size() > 1):
            unsynced: Tensor = super().forward(x)  # type: ignore[misc]
            return unsynced
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        mean, variance, count = self._statistics(wide)
        self._keep(mean.detach(), variance.detach() * (count / max(count - 1, 1)))
        shape = (1, -1, *[1] * (x.ndim - 2))
        y = (wide - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        out: Tensor = y.to(x.dtype)
        # timm's batch norms bring their activation along.
        return self.act(self.drop(out)) if hasattr(self, "act") else out

    @torch.no_grad()
    def _keep(self: Any, mean: Tensor, variance: Tensor) -> None:
        if not self.track_running_stats:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:
            share = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def _sum(x: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(x)
    return total


def synchronise_norms(net: nn.Module, device: torch.device) -> nn.Module:
    """Make every batch norm in training mode take its statistics from all processes.

    On GPUs by torch's own SyncBatchNorm, on the CPU by a class that keeps name, parameters and
    buffers. Norms that are kept in evaluation mode stay as they are.
    """
    if device.type != "cpu":
        # timm's: torch's own would drop the activation that timm's batch norms bring along.
        import timm.layers

        layers: Any = timm.layers  # untyped
        converted: nn.Module = layers.convert_sync_batchnorm(net)
        return converted
    for module in net.modules():
        plain = isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
        if plain:
            mix_in(module, _Synced)
    return net
