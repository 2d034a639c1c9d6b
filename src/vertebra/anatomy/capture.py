"""One run of a network on tensors without numbers, written down operation by operation."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from vertebra.anatomy.graph import WRITTEN, Graph, ModuleCall, Node, Value
from vertebra.anatomy.shape_only import (
    Hook,
    ShapeMode,
    ShapeOnly,
    collector_off,
    in_mode,
    on_shapes,
    sketch,
    storage_of,
    watched,
)


def capture(model: nn.Module, inputs: Sequence[tuple[tuple[int, ...], torch.dtype]]) -> Graph:
    """Run ``model`` in evaluation mode on inputs of the given shapes and types.

    Parameters, on whatever device they lie (meta too), are replaced for the run by shapes on the
    CPU: no memory is allocated, no arithmetic done, the model is left as it was. All of them
    require gradients, frozen ones too, because without any PyTorch's attention takes a fused path
    that hides its matrix products.
    """
    # Inference mode would hand composite operations to the recorder undivided.
    modes = (torch.inference_mode(False), in_mode(model, training=False), torch.enable_grad())
    with contextlib.ExitStack() as stack:
        for mode in (*modes, collector_off()):
            stack.enter_context(mode)
        parameters = {
            name: sketch(p).requires_grad_(p.dtype.is_floating_point or p.dtype.is_complex)
            for name, p in model.named_parameters()
        }
        learnt = {name for name, p in model.named_parameters() if p.requires_grad}
        buffers = {name: sketch(b) for name, b in model.named_buffers()}
        arguments = tuple(
            ShapeOnly(torch.empty(shape, dtype=dtype, device="meta")) for shape, dtype in inputs
        )
        recorder = _Recorder(parameters, learnt, buffers)
        entry = [recorder.new_value(argument) for argument in arguments]
        with watched(model, functools.partial(_hooks, recorder=recorder)), recorder:
            outputs = torch.func.functional_call(model, {**parameters, **buffers}, arguments)
        return Graph(
            values=tuple(recorder.values),
            nodes=tuple(recorder.nodes),
            calls=tuple(recorder.calls),
            inputs=tuple(entry),
            outputs=recorder.ids(outputs),
            differentiable=frozenset(recorder.differentiable),
        )


class _Recorder(ShapeMode):  # type: ignore[no-untyped-call]
    """Writes down every operation below autograd, with an id for every tensor it makes."""

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        learnt: Collection[str],
        buffers: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        self.values: list[Value] = []
        self.nodes: list[Node] = []
        self.calls: list[ModuleCall] = []
        self._ids: dict[int, int] = {}
        # Keeps every tensor alive: Python reuses the id() of one that has died.
        self._alive: list[Tensor] = []
        self._storages: dict[int, int] = {}
        self.differentiable: set[int] = set()
        # For each storage that was written to, the value that was written last.
        self._written: dict[int, int] = {}
        for name, tensor in parameters.items():
            self.new_value(tensor, name, name in learnt)
        for name, tensor in buffers.items():
            self.new_value(tensor, buffer=name)

    def new_value(
        self,
        tensor: Tensor,
        parameter: str | None = None,
        trainable: bool = False,
        buffer: str | None = None,
    ) -> int:
        """Give ``tensor`` a fresh id, also if it had one, as after an in-place operation."""
        self._alive.append(tensor)
        self._ids[id(tensor)] = len(self.values)
        dtype = _name(tensor.dtype)
        storage = self._storages.setdefault(storage_of(tensor), len(self._storages))
        shape = tuple(tensor.shape)
        self.values.append(Value(shape, dtype, parameter, trainable, storage, buffer))
        return len(self.values) - 1

    def ids(self, structure: Any) -> tuple[int, ...]:
        """Ids of the tensors in a nested structure."""
        return tuple(self._id(leaf) for leaf in tree_leaves(structure) if isinstance(leaf, Tensor))

    def _id(self, tensor: Tensor) -> int:
        known = self._ids.get(id(tensor))
        if known is None:
            # A tensor that no recorded operation made is a constant of the network.
            return self.new_value(tensor)
        written = self._written.get(self.values[known].storage, -1)
        current = known if written <= known else self._reread(tensor, known, written)
        # Asked when it is read: what a custom autograd.Function gives requires gradients only then.
        if tensor.requires_grad:
            self.differentiable.update((current, written) if current != known else (current,))
        return current

    def _reread(self, tensor: Tensor, known: int, written: int) -> int:
        """A value whose memory another view of it has changed since."""
        current = self.new_value(tensor)
        operands = {"self": (known,), "source": (written,)}
        self.nodes.append(Node(WRITTEN, {}, operands, (current,), self.stack[-1]))
        return current

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run ``func`` on shapes and record it, unless it makes no tensor."""
        kwargs = dict(kwargs or {})
        operands, attributes = self._bind(func, args, kwargs)
        result = on_shapes(func, args, kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if not made and func._schema.is_mutable:
            # Works in place on a list and returns nothing: what it changed is what it made.
            made = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if made:
            outputs = tuple(self.new_value(tensor) for tensor in made)
            if func._schema.is_mutable:
                self._written.update({self.values[value].storage: value for value in outputs})
            name = str(func.overloadpacket)
            place, recorded = self.stack[-1], torch.is_grad_enabled()
            self.nodes.append(Node(name, attributes, operands, outputs, place, recorded))
        return result

    def _bind(
        self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
        """Arguments by the names in the operation's schema: tensors as ids, the rest as data."""
        names = [argument.name for argument in func._schema.arguments]
        bound = {**dict(zip(names, args, strict=False)), **kwargs}
        operands: dict[str, tuple[int, ...]] = {}
        attributes: dict[str, Any] = {}
        for name, value in bound.items():
            if any(isinstance(leaf, Tensor) for leaf in tree_leaves(value)):
                operands[name] = self.ids(value)
            else:
                attributes[name] = _plain(value)
        return operands, attributes


def _plain(value: Any) -> Any:
    """Numbers, strings and lists as they are; types, devices and layouts by name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)


@functools.cache
def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _hooks(path: str, module: nn.Module, recorder: _Recorder) -> tuple[Hook, Hook]:
    """Write down where a module begins and ends, what it takes and what it gives."""
    # A stack, because a module may run inside itself.
    entered: list[tuple[int, tuple[int, ...]]] = []
    leaf = next(module.children(), None) is None

    def before(_module: nn.Module, args: Any, kwargs: Any) -> None:
        recorder.stack.append(path)
        # Now, not afterwards: an in-place module gives its own input a new id.
        entered.append((len(recorder.nodes), recorder.ids((args, kwargs))))

    def after(_module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        recorder.stack.pop()
        start, inputs = entered.pop()
        call = ModuleCall(
            path=path,
            kind=type(module).__name__,
            leaf=leaf,
            inputs=inputs,
            outputs=recorder.ids(output),
            start=start,
            end=len(recorder.nodes),
        )
        recorder.calls.append(call)

    return before, after
