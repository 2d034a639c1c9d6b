"""A second network on the same weights, so that the caller's own stays as it is."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from vertebra.anatomy.inputs import described
from vertebra.core import VertebraError
from vertebra.runtime.session import said
from vertebra.runtime.setup import Shape

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def twin(
    net: nn.Module,
    input_shape: Shape,
    precision: str = "fp32",
    layout: str = "contiguous",
    device: str = "cpu",
) -> nn.Module:
    """The network in evaluation mode, without gradients, all of it cast to one precision.

    Memory is shared where nothing has to change; tied weights stay tied.

    Raises:
        VertebraError: it is no network that can be run as it is, or it cannot be copied.
    """
    described(net, input_shape[1:], input_shape[0], None)  # refuses wrappers and lazy layers
    changed: dict[int, Any] = {}
    for tensor in (*net.parameters(), *net.buffers()):
        made = as_asked(tensor.detach(), precision, layout, device)
        is_parameter = isinstance(tensor, nn.Parameter)
        changed[id(tensor)] = nn.Parameter(made, requires_grad=False) if is_parameter else made
    try:
        copied = copy.deepcopy(net, changed)
    except Exception as error:  # whatever a module of the user's holds
        kind = type(net).__name__
        raise VertebraError(
            f"{kind} cannot be copied, which running it needs: {said(error)}"
        ) from error
    return copied.eval()


def as_asked(tensor: Tensor, precision: str, layout: str, device: str) -> Tensor:
    """A tensor in another precision (if it holds real numbers), layout and place."""
    dtype = DTYPES[precision] if tensor.is_floating_point() else tensor.dtype
    if tensor.ndim == 4:
        return tensor.to(device, dtype, memory_format=_FORMATS[layout])
    return tensor.to(device, dtype)
