"""Initialisation by address: a parameter's numbers depend on the seed and on its own name.

So adding a layer, or building them in another order, leaves every other parameter as it was.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vertebra.core import address

# (path of the module, the module, name of its parameter, the parameter, generator) -> None.
InitRule = Callable[[str, nn.Module, str, Tensor, torch.Generator], None]
# Fills a tensor in place.
Draw = Callable[[Tensor, torch.Generator], object]


def initialise(net: nn.Module, rule: InitRule, seed: int) -> None:
    """Draw every parameter of ``net`` anew by ``rule``, in place; parameters on meta are left."""
    with torch.no_grad():
        for path, module in net.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.is_meta:
                    continue
                generator = torch.Generator(parameter.device)
                generator.manual_seed(address(seed, "init", f"{path}.{name}"))
                rule(path, module, name, parameter, generator)


def he_fan_out(parameter: Tensor, generator: torch.Generator, groups: int = 1) -> None:
    """N(0, 2 / fan_out): He et al., 2015, arXiv:1502.01852, equation 14 (its backward form).

    ``groups`` is by how many the fan-out is divided: timm counts one group of a convolution's
    channels, torchvision all of them.
    """
    nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu", generator=generator)
    parameter.mul_(groups**0.5)


def truncated_normal(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    """N(0, std^2) without what lies beyond 2 (not 2 ``std``), as torchvision and timm have it."""
    nn.init.trunc_normal_(parameter, std=std, generator=generator)


def default_linear(parameter: Tensor, fan_in: int, generator: torch.Generator) -> None:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for weight and bias: what ``nn.Linear`` does by itself."""
    bound = fan_in**-0.5
    nn.init.uniform_(parameter, -bound, bound, generator=generator)


def default_norm(name: str, parameter: Tensor) -> None:
    """Scale 1 and shift 0.

    Raises:
        ValueError: it is neither, so that no parameter is forgotten by a rule that ends in this.
    """
    if name not in ("weight", "bias"):
        raise ValueError(f"no rule says how '{name}' starts")
    parameter.fill_(1.0 if name == "weight" else 0.0)


def normal(std: float) -> Draw:
    """N(0, std^2)."""
    return lambda tensor, generator: nn.init.normal_(tensor, std=std, generator=generator)


def uniform_by_rows(weight: Tensor, generator: torch.Generator) -> None:
    """U(-1/sqrt(n), 1/sqrt(n)) for a matrix of n rows: a classifier of n classes.

    EfficientNet's authors, torchvision and timm take the outputs of a layer for its fan here.
    """
    default_linear(weight, len(weight), generator)


def he_rule(linear: Draw, by_group: bool = False) -> InitRule:
    """He initialisation by fan-out for convolutions, zero for biases, norms as the identity.

    ``linear`` draws the weights of linear layers. ``by_group`` takes the fan-out of one group,
    which for depthwise convolutions is that of one channel.
    """

    def rule(
        path: str, module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator
    ) -> None:
        if name == "bias" or not isinstance(module, nn.Conv2d | nn.Linear):
            default_norm(name, parameter)
        elif isinstance(module, nn.Conv2d):
            he_fan_out(parameter, generator, module.groups if by_group else 1)
        else:
            linear(parameter, generator)

    return rule


def truncated_rule(std: float, exceptions: Mapping[str, float] | None = None) -> InitRule:
    """:func:`truncated_normal` for every weight, PyTorch's own biases, norms as the identity.

    ``exceptions`` gives another deviation for the layer at a path.
    """
    other = exceptions or {}

    def rule(
        path: str, module: nn.Module, name: str, parameter: Tensor, generator: torch.Generator
    ) -> None:
        if isinstance(module, nn.BatchNorm2d):
            default_norm(name, parameter)
        elif name == "weight":
            truncated_normal(parameter, other.get(path, std), generator)
        else:
            default_linear(parameter, module.get_parameter("weight")[0].numel(), generator)

    return rule
