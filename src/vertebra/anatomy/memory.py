"""Bytes that training and inference need, by batch size, precision and optimiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from vertebra.anatomy.inputs import described, explained
from vertebra.anatomy.rehearsal import rehearse_inference, rehearse_training
from vertebra.core import VertebraError, parse_bytes, unknown
from vertebra.nn import Backbone

# Mixed precision: parameters, gradients and optimiser state stay in the type of the parameters.
PRECISIONS: Mapping[str, torch.dtype | None] = {
    "fp32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


@dataclass(frozen=True)
class _Optimizer:
    """Numbers kept for each number of a parameter, and bytes for each parameter as a whole."""

    copies: int
    counter: int = 0


# As in torch.optim and, LAMB and Lion, in timm.
_OPTIMIZERS: Mapping[str, _Optimizer] = {
    "sgd": _Optimizer(0),
    "momentum": _Optimizer(1),
    "nesterov": _Optimizer(1),
    "rmsprop": _Optimizer(1, 4),
    "adagrad": _Optimizer(1, 4),
    "adam": _Optimizer(2, 4),
    "adamw": _Optimizer(2, 4),
    "lamb": _Optimizer(2),
    "lion": _Optimizer(1),
}
OPTIMIZERS = tuple(_OPTIMIZERS)
_ONE_VALUE = "more than 1 value per channel"  # as PyTorch's batch norm says it


@dataclass(frozen=True)
class Memory:
    """What one training step and one inference hold, in bytes.

    Attributes:
        batch, precision, optimizer: what was asked.
        parameters, buffers: those of the network, as they lie in memory.
        gradients: one for each parameter that a gradient comes back to, in its type.
        optimizer_state: what the optimiser keeps between steps, of the same parameters.
        inputs: the batch itself.
        activations: what autograd keeps for the backward pass, each storage counted once.
        activations_by_module: the same by the path of the module that made it.
        training_peak: the most at any time of a step: parameters, buffers, optimiser state, inputs,
            activations, gradients so far and temporary tensors. Gradients start unset.
        inference_peak: parameters, buffers, inputs and the largest set of maps alive at once.
        partial: operations that keep more than can be told without their kernel; empty when exact.

    Not in it: what kernels borrow while they run (cuDNN's and oneDNN's workspaces), what an
    allocator keeps in reserve, CUDA's context, and temporaries of the optimiser.
    """

    batch: int
    precision: str
    optimizer: str
    parameters: int
    buffers: int
    gradients: int
    optimizer_state: int
    inputs: int
    activations: int
    activations_by_module: Mapping[str, int]
    training_peak: int
    inference_peak: int
    partial: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data under the names of this class."""
        plain = {**vars(self), "activations_by_module": dict(self.activations_by_module)}
        return {**plain, "partial": list(self.partial)}


def memory_of(
    model: nn.Module,
    input_size: Sequence[int] | None = None,
    batch: int = 1,
    precision: str = "fp32",
    optimizer: str = "adamw",
    *,
    inputs: Sequence[Tensor | Sequence[int]] | None = None,
) -> Memory:
    """What training and inference hold, from a step rehearsed on tensors without numbers.

    Args:
        model: any module, on any device; on meta it needs no memory. It is left as it was.
        input_size: (channels, height, width) of one image; None asks the model for its own.
        batch: images in the batch.
        precision: "fp32"; or "bf16" or "fp16", for a forward under autocast.
        optimizer: one of ``OPTIMIZERS``; "sgd" is without momentum.
        inputs: as in :func:`~vertebra.anatomy.dissect`, instead of ``input_size`` and ``batch``.

    Raises:
        VertebraError: precision or optimizer are unknown, or the model cannot run so.
    """
    check_training(precision, optimizer)
    given, autocast = described(model, input_size, batch, inputs), PRECISIONS[precision]
    with explained(model, given):
        trained = rehearse_training(_as_trained(model), given, autocast, _loss)
        inferred = rehearse_inference(model, given, autocast)
    learnt = [p for name, p in model.named_parameters() if name in trained.learnt]
    gradients = _bytes(learnt)
    state = _state_bytes(_OPTIMIZERS[optimizer], learnt)
    parameters, buffers = _bytes(model.parameters()), _bytes(model.buffers())
    return Memory(
        batch=given[0][0][0] if given and given[0][0] else batch,
        precision=precision,
        optimizer=optimizer,
        parameters=parameters,
        buffers=buffers,
        gradients=gradients,
        optimizer_state=state,
        inputs=trained.given - parameters - buffers,
        activations=trained.activations,
        activations_by_module=trained.by_module,
        training_peak=state + max(trained.peak, trained.given + gradients),
        inference_peak=inferred.peak,
        partial=tuple(sorted(trained.unknown | inferred.unknown)),
    )


def smallest_memory_of(
    model: nn.Module,
    precision: str = "fp32",
    optimizer: str = "adamw",
    *,
    inputs: Sequence[Tensor | Sequence[int]],
) -> Memory:
    """:func:`memory_of` on inputs of one image each, or on two where one cannot train.

    Batch norm does not train on a single value for each channel.

    Raises:
        VertebraError: as :func:`memory_of`.
    """
    try:
        return memory_of(model, None, 1, precision, optimizer, inputs=inputs)
    except VertebraError as error:
        if _ONE_VALUE not in str(error):
            raise
    given = described(model, None, 1, inputs)
    two = [torch.empty((2 * s[0], *s[1:]), dtype=t, device="meta") for s, t in given]
    return memory_of(model, None, 1, precision, optimizer, inputs=two)


def check_training(precision: str, optimizer: str) -> None:
    """Raise the error for an unknown precision or optimiser."""
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if optimizer not in _OPTIMIZERS:
        raise unknown("optimizer", optimizer, OPTIMIZERS)


def largest_batch(
    model: nn.Module,
    limit: int | str,
    input_size: Sequence[int] | None = None,
    precision: str = "fp32",
    optimizer: str = "adamw",
    *,
    inputs: Sequence[Tensor | Sequence[int]] | None = None,
) -> int:
    """The most images of a batch whose training step fits into a memory; 0 if none.

    The peak grows with the batch, never slower than before, so a few rehearsals find it. Where the
    memory is partial (:attr:`Memory.partial`), fewer images fit than this says.

    Args:
        model, input_size, precision, optimizer: as in :func:`memory_of`.
        limit: bytes, or as "16GiB".
        inputs: instead of ``input_size``: tensors or shapes, of each of which the first dimension
            is the batch, whatever it is now.

    Raises:
        VertebraError: as :func:`memory_of`; or the limit is no amount of memory.
    """
    if isinstance(limit, str):
        limit = parse_bytes(limit)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise VertebraError(f"limit must be a number of bytes, or like '16GiB'; got {limit!r}")
    given = described(model, input_size, 1, inputs)
    if not all(shape for shape, _ in given):
        raise VertebraError("an input without dimensions has no batch")

    def peak(batch: int) -> int:
        sized = [torch.empty((batch, *s[1:]), dtype=t, device="meta") for s, t in given]
        try:
            return memory_of(model, None, 1, precision, optimizer, inputs=sized).training_peak
        except VertebraError as error:
            text = (
                f"a batch of {batch}, the first dimension of each input, cannot be tried: {error}"
            )
            raise VertebraError(text) from error

    return _largest(peak, limit)


def _largest(peak: Callable[[int], int], limit: int) -> int:
    """The largest whole number at which a convex, growing function is at most ``limit``."""
    # Batch norm refuses to train on a single value, so start from two images.
    low = 2
    bottom = peak(low)
    if bottom > limit:
        return _one(peak, limit)
    high = 2 * low
    top = peak(high)
    while top <= limit:
        step = max((top - bottom) // (high - low), 1)
        low, bottom = high, top
        # A convex function lies above its chord's extension: one more is surely too many, or fits.
        high += max((limit - top) // step, 0) + 1
        top = peak(high)
    while high - low > 1:
        # And below its chord in between.
        guess = low + (limit - bottom) * (high - low) // max(top - bottom, 1)
        guess = min(max(guess, low + 1), high - 1)
        value = peak(guess)
        if value <= limit:
            low, bottom = guess, value
        else:
            high, top = guess, value
    return low


def _one(peak: Callable[[int], int], limit: int) -> int:
    try:
        return 1 if peak(1) <= limit else 0
    except VertebraError:
        return 0


class _WithAuxiliaries(nn.Module):
    """A backbone whose auxiliary heads run too, as they do in training."""

    def __init__(self, net: Backbone) -> None:
        super().__init__()
        # Under the names that they have, so that what is held is told by them.
        for name, child in net.named_children():
            self.add_module(name, child)
        self._run = net.forward_train

    def forward(self, images: Tensor) -> Any:
        outputs = self._run(images)
        return [outputs.logits, *outputs.aux]


def _as_trained(model: nn.Module) -> nn.Module:
    return _WithAuxiliaries(model) if isinstance(model, Backbone) and len(model.aux) else model


def _loss(outputs: Any) -> Tensor:
    """A number that every output has a part in, at the cost that a cross-entropy has."""
    tensors = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    floating = [tensor for tensor in tensors if tensor.is_floating_point()]
    if not floating:
        raise VertebraError("a network that gives no floating-point tensor cannot be trained")
    terms = [t.float().log_softmax(-1).sum() if t.ndim else t.float() for t in floating]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _bytes(tensors: Any) -> int:
    """Each once, also where a module holds one under two names."""
    return sum({id(t): t.numel() * t.element_size() for t in tensors}.values())


def _state_bytes(optimizer: _Optimizer, learnt: Sequence[nn.Parameter]) -> int:
    return optimizer.copies * _bytes(learnt) + optimizer.counter * len(learnt)
