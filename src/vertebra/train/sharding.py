"""A network whose weights, gradients and optimiser state are divided between the processes.

FSDP2 (torch's fully_shard; ZeRO stage 3 of Rajbhandari et al., 2019, arXiv:1910.02054): each block
gathers its weights when it runs and lets them go afterwards. Checkpoints hold the whole network, as
any run's do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from vertebra.nn import Backbone
from vertebra.train.group import Group


def shard_network(net: Backbone, device: torch.device, group: Group) -> None:
    """Divide the network between the processes, block by block, in place."""
    mesh = init_device_mesh(device.type, (group.world,))
    for stage in net.stages:
        for block in stage.children():
            fully_shard(block, mesh=mesh)
    fully_shard(net, mesh=mesh)
    # The training forward is another method than the one that FSDP knows.
    register_fsdp_forward_method(net, "forward_train")


@contextlib.contextmanager
def unjoined(net: nn.Module) -> Iterator[None]:
    """Gradients are summed in each process for the while and not between them."""
    assert isinstance(net, FSDPModule)
    net.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        net.set_requires_gradient_sync(True)


def undivided(tensor: Tensor) -> Tensor:
    """One tensor whole, where it is; every process has to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors undivided, on the CPU; every process has to ask."""
    return {name: undivided(value).detach().cpu() for name, value in tensors.items()}


def fill(tensors: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Copy whole tensors into divided ones, in place; every process has to."""
    with torch.no_grad():
        for name, value in tensors.items():
            source = given[name].to(value.device, value.dtype)
            if isinstance(value, DTensor):
                source = distribute_tensor(source, value.device_mesh, value.placements)
            value.copy_(source)


def optimizer_state(net: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """The optimiser's state undivided, by the names of the parameters; empty but on rank 0."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state: dict[str, Any] = get_optimizer_state_dict(net, optimizer, options=options)
    return state


def fill_optimizer(net: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Give a fresh optimiser what :func:`optimizer_state` gave."""
    options = StateDictOptions(full_state_dict=True)
    set_optimizer_state_dict(net, optimizer, state, options=options)
