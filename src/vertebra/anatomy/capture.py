"""One run of a network on tensors without numbers, written down operation by operation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vertebra.anatomy.graph import Graph, ModuleCall, Node, Value


def capture(model: nn.Module, inputs: Sequence[tuple[tuple[int, ...], torch.dtype]]) -> Graph:
    """Run ``model`` in evaluation mode on fake inputs of the given shapes and types.

    Parameters, on whatever device they lie (meta too), are replaced for the run by fake ones on the
    CPU: no memory is allocated, no arithmetic done, the model is left as it was. They keep
    requiring gradients, because without any PyTorch's attention takes a fused path that hides its
    matrix products.
    """
    with FakeTensorMode(), _evaluating(model), torch.enable_grad():
        parameters = {
            name: _fake(p).requires_grad_(p.requires_grad) for name, p in model.named_parameters()
        }
        buffers = {name: _fake(b) for name, b in model.named_buffers()}
        arguments = tuple(torch.empty(shape, dtype=dtype, device="cpu") for shape, dtype in inputs)
        recorder = _Recorder(parameters)
        entry = [recorder.new_value(argument) for argument in arguments]
        with _recording_calls(model, recorder), recorder:
            outputs = torch.func.functional_call(model, {**parameters, **buffers}, arguments)
        return Graph(
            values=tuple(recorder.values),
            nodes=tuple(recorder.nodes),
            calls=tuple(recorder.calls),
            inputs=tuple(entry),
            outputs=recorder.ids(outputs),
        )


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every operation below autograd, with an id for every tensor it makes."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values: list[Value] = []
        self.nodes: list[Node] = []
        self.calls: list[ModuleCall] = []
        self.stack: list[str] = [""]
        self._ids: dict[int, int] = {}
        # Keeps every tensor alive: Python reuses the id() of one that has died.
        self._alive: list[Tensor] = []
        for name, tensor in parameters.items():
            self.new_value(tensor, name)

    def new_value(self, tensor: Tensor, parameter: str | None = None) -> int:
        """Give ``tensor`` a fresh id, also if it had one, as after an in-place operation."""
        self._alive.append(tensor)
        self._ids[id(tensor)] = len(self.values)
        dtype = str(tensor.dtype).removeprefix("torch.")
        self.values.append(Value(tuple(tensor.shape), dtype, parameter))
        return len(self.values) - 1

    def ids(self, structure: Any) -> tuple[int, ...]:
        """Ids of the tensors in a nested structure."""
        return tuple(self._id(leaf) for leaf in tree_leaves(structure) if isinstance(leaf, Tensor))

    def _id(self, tensor: Tensor) -> int:
        known = self._ids.get(id(tensor))
        # A tensor that no recorded operation made is a constant of the network.
        return self.new_value(tensor) if known is None else known

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run ``func`` and record it, unless it makes no tensor (a question about a device)."""
        kwargs = dict(kwargs or {})
        operands, attributes = self._bind(func, args, kwargs)
        result = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if made:
            outputs = tuple(self.new_value(tensor) for tensor in made)
            name = str(func.overloadpacket)
            self.nodes.append(Node(name, attributes, operands, outputs, self.stack[-1]))
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


def _fake(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the while, then each module's own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def _recording_calls(model: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Tell the recorder which module runs, from hooks that are taken off again."""
    handles = []
    try:
        for path, module in model.named_modules():
            before, after = _hooks(path, module, recorder)
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hooks(
    path: str, module: nn.Module, recorder: _Recorder
) -> tuple[Callable[..., None], Callable[..., None]]:
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
