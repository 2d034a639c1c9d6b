"""Gradient checkpointing: forget what a block computed and compute it again for the gradient.

Chen et al., 2016, arXiv:1604.06174. Memory falls to what flows between blocks; time grows by about
one more forward.
"""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute(
    block: nn.Module, *inputs: Tensor, part: Callable[..., Tensor] | None = None
) -> Tensor:
    """``block(*inputs)``, keeping only ``inputs`` for the backward pass.

    Gradients, dropout and the running statistics of batch norm are those of a plain call. ``part``
    is a method of ``block`` to call in its place.
    """
    function = part or block
    out: Tensor
    if torch.compiler.is_compiling():
        # The compiler takes no such contexts and needs none: it recomputes values, not updates.
        out = checkpoint(function, *inputs, use_reentrant=False)
    else:
        out = checkpoint(
            function,
            *inputs,
            use_reentrant=False,
            context_fn=lambda: (contextlib.nullcontext(), statistics_kept(block)),
        )
    return out


@contextlib.contextmanager
def statistics_kept(block: nn.Module) -> Iterator[None]:
    """A second forward of the same batch leaves running mean and variance as they are."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
