"""Which parameters learn together, and what makes them learn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import SGD, Adam, AdamW, Optimizer

from vertebra.core import VertebraError
from vertebra.nn import Backbone
from vertebra.runs.sections import TrainSection
from vertebra.train.schedule import learning_rate, momentum, peak_rate

# The share of the schedule's rate that a group learns at; kept beside the optimiser's own fields.
SCALE = "lr_scale"


def parameter_groups(net: nn.Module, section: TrainSection) -> list[dict[str, Any]]:
    """The parameters by weight decay and by rate, from input to output.

    Only weights of convolutions and linear layers decay unless the recipe says "all": decaying norm
    scales and biases costs accuracy (He et al., 2018, arXiv:1812.01187, section 3.1). A group's
    ``lr_scale`` is ``layer_decay`` to the power of its distance from the head, and ``backbone_lr``
    for all but the head. What the recipe freezes is in no group.

    Raises:
        VertebraError: a pattern freezes nothing, or everything; or the layers of one of timm's
            networks cannot be grouped.
    """
    frozen = frozen_names(net, section.freeze)
    scales, weights = _scales(net, section), _weights(net)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if name in frozen:
            continue
        decays = section.decay == "all" or name in weights
        key = (section.weight_decay if decays else 0.0, scales[name])
        groups.setdefault(key, []).append(parameter)
    if not groups:
        raise VertebraError("train.freeze leaves no parameter to learn")
    order = sorted(groups, key=lambda key: (-key[1], -key[0]))
    return [{"params": groups[key], "weight_decay": key[0], SCALE: key[1]} for key in order]


def make_optimizer(net: nn.Module, section: TrainSection) -> Optimizer:
    """The recipe's optimiser; :func:`set_rates` gives it each step's rate.

    SGD (torch's: Sutskever et al., 2013), Adam (Kingma and Ba, 2014), AdamW (Loshchilov and Hutter,
    2017) from torch; Lion (Chen et al., 2023, arXiv:2302.06675) and LAMB (You et al., 2019,
    arXiv:1904.00962) from timm. ``eps`` None is each one's own default.
    """
    groups = parameter_groups(net, section)
    rate = peak_rate(section)
    if section.optimizer == "sgd":
        nesterov = section.nesterov and section.momentum > 0
        return SGD(groups, lr=rate, momentum=section.momentum, nesterov=nesterov)
    options: dict[str, Any] = {"lr": rate, "betas": section.betas}
    if section.optimizer == "lion":
        from timm.optim.lion import Lion

        lion: Optimizer = Lion(groups, **options)
        return lion
    if section.eps is not None:
        options["eps"] = section.eps
    if section.optimizer == "lamb":
        from timm.optim.lamb import Lamb

        # timm clips by default, before and apart from what the recipe says.
        lamb: Optimizer = Lamb(groups, max_grad_norm=None, **options)
        return lamb
    kind = Adam if section.optimizer == "adam" else AdamW
    return kind(groups, **options)


def set_rates(
    optimizer: Optimizer, section: TrainSection, step: int, steps_per_epoch: int
) -> float:
    """Give every group its rate of this step, and its momentum; returns the schedule's rate."""
    rate = learning_rate(section, step, steps_per_epoch)
    inertia = momentum(section, step, steps_per_epoch)
    for group in optimizer.param_groups:
        group["lr"] = rate * group[SCALE]
        if inertia is not None and "momentum" in group:
            group["momentum"] = inertia
        elif inertia is not None:
            group["betas"] = (inertia, *group["betas"][1:])
    return rate


def frozen_names(net: nn.Module, patterns: tuple[str, ...]) -> set[str]:
    """Names of the parameters that a recipe freezes.

    A pattern is the start of a name, whole parts of it (``stem``, ``stages.0``), or has ``*``.

    Raises:
        VertebraError: a pattern fits no parameter.
    """
    names = [name for name, _ in net.named_parameters()]
    found: set[str] = set()
    for pattern in patterns:
        form = re.compile(re.escape(pattern).replace(r"\*", ".*") + r"(\..*)?")
        fitting = {name for name in names if form.fullmatch(name)}
        if not fitting:
            parts = sorted({name.split(".")[0] for name in names})
            raise VertebraError(
                f"train.freeze '{pattern}' fits no parameter; their names start with "
                f"{', '.join(parts)} (vertebra show lists the layers)"
            )
        found |= fitting
    return found


def head_names(net: Backbone) -> set[str]:
    """Names of the parameters of the last layers: what changes with the number of classes."""
    paths = tuple(f"{path}." for path in net.classifiers())
    return {name for name, _ in net.named_parameters() if name.startswith(paths)}


def _weights(net: nn.Module) -> set[str]:
    """Names of the weights of convolutions and linear layers."""
    return {
        f"{path}.weight".lstrip(".")
        for path, module in net.named_modules()
        if isinstance(module, nn.Linear | _ConvNd)
    }


def _scales(net: nn.Module, section: TrainSection) -> Mapping[str, float]:
    """The share of the rate that each parameter learns at."""
    scales = {name: 1.0 for name, _ in net.named_parameters()}
    if section.layer_decay is not None and isinstance(net, Backbone):
        names = {id(parameter): name for name, parameter in net.named_parameters()}
        groups = net.layer_groups()
        for place, (_, parameters) in enumerate(groups):
            for parameter in parameters:
                scales[names[id(parameter)]] = section.layer_decay ** (len(groups) - 1 - place)
    if section.backbone_lr != 1.0 and isinstance(net, Backbone):
        head = head_names(net)
        scales = {n: s if n in head else s * section.backbone_lr for n, s in scales.items()}
    return scales
