"""Counters that are not ours, and modules to try them on."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

with warnings.catch_warnings():
    # iopath, below fvcore, still calls torch.jit.script while it is imported.
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import conv_flop_count, get_shape


class Run(nn.Module):
    """A function as a module: called with the module itself, which holds ``parts``, and inputs."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


class WithoutGradients(nn.Module):
    """Switches gradients off by itself, as code for inference does."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: Tensor) -> Any:
        with torch.no_grad():
            return self.inner(*inputs)


def numbers(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


def by_fvcore(net: nn.Module, *shapes: Sequence[int]) -> FlopCountAnalysis:
    """fvcore's analysis, silenced.

    It has no handle for a convolution whose padding is the word "same" and would count it as zero;
    here its own formula is applied to it.
    """
    analysis = FlopCountAnalysis(net.eval(), tuple(torch.zeros(*shape) for shape in shapes))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    analysis.set_op_handle("aten::_convolution_mode", _convolution_with_padding_by_name)
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    return analysis


def _convolution_with_padding_by_name(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    shapes = (get_shape(value) for value in (*inputs[:2], outputs[0]))
    return Counter({"conv": conv_flop_count(*shapes)})


def by_torch(
    net: nn.Module, *shapes: Sequence[int], backward: bool = True, image_learns: bool = False
) -> float:
    """MACs that PyTorch's counter sees in a forward and, if asked for, a real backward.

    Attention runs unfused: of the fused kernels' backward the counter takes a recomputed product
    into the sum, which is the kernel's business and not the chain rule's.
    """
    counter = FlopCounterMode(display=False)
    inputs = [torch.zeros(*shape, requires_grad=image_learns) for shape in shapes]
    with sdpa_kernel(SDPBackend.MATH), counter:
        outputs = net.eval()(*inputs)
        if backward:
            made = [outputs] if isinstance(outputs, Tensor) else list(outputs)
            torch.stack([output.sum() for output in made]).sum().backward()
    return counter.get_total_flops() / 2
