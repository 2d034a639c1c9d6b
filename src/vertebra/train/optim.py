"""Optimisers, the learning rate at each step, and the average of the weights."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import SGD, AdamW, Optimizer

from vertebra.runs.recipe import TrainSection


def parameter_groups(net: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Two groups: weights of convolutions and linear layers decay, all else does not.

    Decaying norm scales and biases costs accuracy (He et al., 2018, "Bag of Tricks",
    arXiv:1812.01187, section 3.1).
    """
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    seen: set[int] = set()
    for module in net.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            weight = name == "weight" and isinstance(module, nn.Linear | _ConvNd)
            (decayed if weight else spared).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]


def make_optimizer(net: nn.Module, section: TrainSection) -> Optimizer:
    """The recipe's optimiser; its learning rate is set at every step by :func:`learning_rate`."""
    groups = parameter_groups(net, section.weight_decay)
    if section.optimizer == "adamw":
        return AdamW(groups, lr=section.lr, betas=section.betas)
    nesterov = section.momentum > 0
    return SGD(groups, lr=section.lr, momentum=section.momentum, nesterov=nesterov)


def learning_rate(section: TrainSection, step: int, steps_per_epoch: int) -> float:
    """The rate of optimiser step ``step`` (from 0): linear warm-up, then half a cosine to zero.

    The first step has 1/w of the peak for a warm-up of w steps; the step behind the last one would
    have zero (Loshchilov and Hutter, 2016, arXiv:1608.03983, equation 5 without restarts).
    """
    total = section.epochs * steps_per_epoch
    warmup = round(section.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return section.lr * (step + 1) / warmup
    return section.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


class WeightAverage:
    """An exponential moving average of a network's parameters; buffers follow the network.

    ``average = decay * average + (1 - decay) * weights`` after every step, with a decay that grows
    from 0.18 as (1 + t) / (10 + t), so that the first, random weights are soon forgotten.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: value.detach().clone() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Move towards ``net`` after optimiser step ``step`` (counted from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        learnt = {name for name, _ in net.named_parameters()}
        for name, value in net.state_dict().items():
            average = self.tensors[name]
            if name in learnt:
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)
