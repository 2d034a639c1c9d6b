"""Initialisation by address: a parameter's numbers depend on the seed and on its own name.

So adding a layer, or building them in another order, leaves every other parameter as it was.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vertebra.core import address

# (path of the module, the module, name of its parameter, the parameter, generator) -> None.
InitRule = Callable[[str, nn.Module, str, Tensor, torch.Generator], None]


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


def default_linear(parameter: Tensor, fan_in: int, generator: torch.Generator) -> None:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for weight and bias: what ``nn.Linear`` does by itself."""
    bound = fan_in**-0.5
    nn.init.uniform_(parameter, -bound, bound, generator=generator)


def default_norm(name: str, parameter: Tensor) -> None:
    """Scale 1 and shift 0."""
    parameter.fill_(1.0 if name == "weight" else 0.0)
