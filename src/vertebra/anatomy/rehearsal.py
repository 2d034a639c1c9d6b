"""A step of training, or an inference, rehearsed on tensors without numbers for its memory.

Python and autograd keep and drop the shape-only tensors exactly as they would keep and drop real
ones, so the sum over all storages that are alive is what an allocator would have handed out. What
the kernels themselves borrow while they run (convolution's workspace, a packed copy of a weight) is
not in it.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from vertebra.anatomy.shape_only import (
    Hook,
    ShapeMode,
    ShapeOnly,
    in_mode,
    on_shapes,
    sketch,
    watched,
)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Held:
    """Bytes that a rehearsal held.

    ``unknown``: operations that keep a workspace of a size that only their kernel knows.
    ``learnt``: names of the parameters that a gradient came back to.

    ``given``: parameters, buffers and inputs.
    ``activations``: alive at the end of the forward, besides parameters, buffers and inputs.
    ``by_module``: the same, by the path of the module that made them. ``peak``: the most at any
    time, with what was given and, in training, the gradients so far.
    """

    given: int
    activations: int
    by_module: Mapping[str, int]
    peak: int
    unknown: frozenset[str] = frozenset()
    learnt: frozenset[str] = frozenset()


# Recurrent layers keep all their gates in one tensor, which has no size without a kernel.
_WORKSPACES = ("rnn", "lstm", "gru")


class _Ledger(ShapeMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of every storage from its first tensor to its last."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        # Storages alive, by identity: bytes and the path of the module that made them.
        self.held: dict[int, tuple[int, str]] = {}
        self.unknown: set[str] = set()

    def enter(self, tensor: Tensor) -> None:
        """Count the storage of a tensor, unless it is known."""
        meta = tensor.meta if isinstance(tensor, ShapeOnly) else tensor
        storage = meta.untyped_storage()
        identity = int(storage._cdata)
        if identity in self.held:
            return
        self.held[identity] = (storage.nbytes(), self.stack[-1])
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._leave, identity).atexit = False

    def _leave(self, identity: int) -> None:
        self.live -= self.held.pop(identity)[0]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run ``func`` on shapes and count what it makes."""
        result = on_shapes(func, args, dict(kwargs or {}))
        if any(kind in str(func) for kind in _WORKSPACES):
            self.unknown.add(str(func.overloadpacket))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.enter(leaf)
        return result


def rehearse_training(
    model: nn.Module,
    inputs: Sequence[tuple[Shape, torch.dtype]],
    autocast: torch.dtype | None,
    loss: Callable[[Any], Tensor],
) -> Held:
    """Forward, loss and backward in training mode; gradients start unset, as after ``zero_grad``.

    ``loss`` maps what the model gives to a number. The forward runs under autocast to ``autocast``.
    """
    with _stage(model, inputs, training=True) as (ledger, run, state, given):

        def step(forward: Callable[[], Any]) -> dict[str, int]:
            with _autocast(autocast):
                outputs = forward()  # which a training loop has at hand to the end of the step
                # Casts of weights that autograd has not kept are gone with autocast.
                torch.clear_autocast_cache()
                kept = _kept(ledger, given)
                total = loss(outputs)
            if total.requires_grad:  # else nothing learns
                total.backward()  # type: ignore[no-untyped-call]
            return kept

        with torch.enable_grad():
            kept = run(step)
        learnt = frozenset(name for name, value in state.items() if value.grad is not None)
        return _held(ledger, given, kept, learnt)


def rehearse_inference(
    model: nn.Module,
    inputs: Sequence[tuple[Shape, torch.dtype]],
    autocast: torch.dtype | None,
) -> Held:
    """One forward in evaluation mode without gradients."""
    with _stage(model, inputs, training=False) as (ledger, run, _state, given):

        def step(forward: Callable[[], Any]) -> Any:
            with torch.no_grad(), _autocast(autocast):
                return forward()

        outputs = run(step)
        kept = _kept(ledger, given)
        del outputs
        return _held(ledger, given, kept)


def _held(
    ledger: _Ledger,
    given: Sequence[Tensor],
    kept: Mapping[str, int],
    learnt: frozenset[str] = frozenset(),
) -> Held:
    return Held(
        given=_bytes(given),
        activations=sum(kept.values()),
        by_module=kept,
        peak=ledger.peak,
        unknown=frozenset(ledger.unknown),
        learnt=learnt,
    )


# A step is given a call of the model.
Step = Callable[[Callable[[], Any]], Any]


class _Whole(nn.Module):
    """A step of a model as one forward, so that its weights stay replaced to the end of the step.

    A checkpointed block runs again in the backward pass, and must find what it found before.
    """

    def __init__(self, model: nn.Module, step: Step) -> None:
        super().__init__()
        self.model = model
        self.step = step

    def forward(self, *inputs: Tensor) -> Any:
        return self.step(lambda: self.model(*inputs))


@contextlib.contextmanager
def _stage(
    model: nn.Module, inputs: Sequence[tuple[Shape, torch.dtype]], *, training: bool
) -> Iterator[tuple[_Ledger, Callable[[Step], Any], dict[str, Tensor], list[Tensor]]]:
    """A ledger that runs, a way to run a step, the model's weights by name, and all there was."""
    with torch.inference_mode(False), in_mode(model, training=training):
        ledger = _Ledger()
        state: dict[str, Tensor] = {
            name: sketch(p).requires_grad_(p.requires_grad) for name, p in model.named_parameters()
        }
        state.update((name, sketch(b)) for name, b in model.named_buffers())
        arguments = tuple(
            ShapeOnly(torch.empty(shape, dtype=dtype, device="meta")) for shape, dtype in inputs
        )
        for tensor in (*state.values(), *arguments):
            ledger.enter(tensor)
        given = [*state.values(), *arguments]

        def run(step: Step) -> Any:
            inner = {f"model.{name}": tensor for name, tensor in state.items()}
            return torch.func.functional_call(_Whole(model, step), inner, arguments)

        with watched(model, functools.partial(_entering, ledger=ledger)), ledger:
            yield ledger, run, state, given


def _entering(path: str, _module: nn.Module, ledger: _Ledger) -> tuple[Hook, Hook]:
    """Tell the ledger which module runs."""

    def before(*_given: Any) -> None:
        ledger.stack.append(path)

    def after(*_given: Any) -> None:
        ledger.stack.pop()

    return before, after


def _autocast(dtype: torch.dtype | None) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast("cpu", dtype) if dtype is not None else contextlib.nullcontext()


def _identities(tensors: Sequence[Tensor]) -> set[int]:
    metas = [t.meta if isinstance(t, ShapeOnly) else t for t in tensors]
    return {int(meta.untyped_storage()._cdata) for meta in metas}


def _bytes(tensors: Sequence[Tensor]) -> int:
    """Of everything that the rehearsal began with; counted once where storages are shared."""
    metas = [t.meta if isinstance(t, ShapeOnly) else t for t in tensors]
    sizes = {int(m.untyped_storage()._cdata): m.untyped_storage().nbytes() for m in metas}
    return sum(sizes.values())


def _kept(ledger: _Ledger, given: Sequence[Tensor]) -> dict[str, int]:
    """Bytes alive besides what was given, by the path of the module that made them."""
    before = _identities(given)
    by_module: dict[str, int] = {}
    for identity, (size, path) in ledger.held.items():
        if identity not in before:
            by_module[path] = by_module.get(path, 0) + size
    return by_module
