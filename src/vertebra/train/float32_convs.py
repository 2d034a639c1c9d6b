"""Convolutions that stay in float32 where a CPU trains the rest of a network in bfloat16.

Two kinds. A kernel tap that only ever meets padding: PyTorch's CPU kernels (2.15, oneDNN 3.13)
leave its gradient unwritten in bfloat16 for many shapes, so it is whatever stood in that memory.
And groups of two channels, or of one with a stride or a kernel above 3: a step of theirs takes up
to ten times as long as in float32 (``benchmarks/grouped_convs.py``, docs/decisions/0015). Only in
training mode: forward alone no gradient can be wrong, and little is slower.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vertebra.anatomy import any_tap_in_padding
from vertebra.train.mixin import mix_in

# Channels a group up to which bfloat16 is slow.
FEW_CHANNELS = 2


class _InFloat32(nn.Conv2d):
    """Computes in float32 under autocast where :func:`needs_float32`; gives autocast's type."""

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution's own."""
        in_bf16 = self.training and torch.is_autocast_enabled("cpu")
        if not in_bf16 or not needs_float32(self, x.shape[2:]):
            return super().forward(x)
        half = torch.get_autocast_dtype("cpu")
        with torch.autocast("cpu", enabled=False):
            out = super().forward(x.float())
        return out.to(half)


def keep_convs_in_float32(net: nn.Module) -> int:
    """Let every convolution of ``net`` that needs float32 have it; returns how many may."""
    convs = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    for conv in convs:
        mix_in(conv, _InFloat32)
    return len(convs)


def needs_float32(conv: nn.Conv2d, size: tuple[int, ...]) -> bool:
    """Whether bfloat16 is slow or wrong for its gradients with maps of (height, width)."""
    if _is_slow(conv) or conv.padding_mode != "zeros":  # others are written out beforehand
        return _is_slow(conv)
    return any(
        any_tap_in_padding(*axis)
        for axis in zip(
            size, conv.kernel_size, conv.stride, _zeros_around(conv), conv.dilation, strict=True
        )
    )


def _is_slow(conv: nn.Conv2d) -> bool:
    width = conv.in_channels // conv.groups
    if conv.groups == 1 or width > FEW_CHANNELS:
        return False
    return width > 1 or max(conv.stride) > 1 or max(conv.kernel_size) > 3


def _zeros_around(conv: nn.Conv2d) -> tuple[int, ...]:
    """How many on each side; they are not written out, so no gradient of theirs may be either."""
    if isinstance(conv.padding, str):
        spans = zip(conv.kernel_size, conv.dilation, strict=True)
        same = tuple(dilation * (kernel - 1) // 2 for kernel, dilation in spans)
        return same if conv.padding == "same" else (0, 0)
    return conv.padding
