"""One run of a network on tensors without numbers, written down operation by operation.

The tensors say that they lie on the CPU, so that everything that asks for a device (autocast,
attention's choice of kernel) does as it would there; shapes are computed by :mod:`.shapes` and
PyTorch's meta kernels. ``FakeTensorMode`` would do as much, but loads the compiler: four seconds of
imports (see docs/decisions).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from vertebra.anatomy.graph import WRITTEN, Graph, ModuleCall, Node, Value
from vertebra.anatomy.shapes import shapes_of


def capture(model: nn.Module, inputs: Sequence[tuple[tuple[int, ...], torch.dtype]]) -> Graph:
    """Run ``model`` in evaluation mode on inputs of the given shapes and types.

    Parameters, on whatever device they lie (meta too), are replaced for the run by shapes on the
    CPU: no memory is allocated, no arithmetic done, the model is left as it was. All of them
    require gradients, frozen ones too, because without any PyTorch's attention takes a fused path
    that hides its matrix products.
    """
    # Inference mode would hand composite operations to the recorder undivided.
    with torch.inference_mode(False), _evaluating(model), torch.enable_grad():
        parameters = {
            name: _sketch(p).requires_grad_(p.dtype.is_floating_point or p.dtype.is_complex)
            for name, p in model.named_parameters()
        }
        learnt = {name for name, p in model.named_parameters() if p.requires_grad}
        buffers = {name: _sketch(b) for name, b in model.named_buffers()}
        arguments = tuple(
            _ShapeOnly(torch.empty(shape, dtype=dtype, device="meta")) for shape, dtype in inputs
        )
        recorder = _Recorder(parameters, learnt)
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


class _ShapeOnly(torch.Tensor):
    """A tensor on the CPU that has shape, strides and type but no numbers.

    ``meta`` is its twin on the meta device, on which shapes are computed.
    """

    meta: Tensor

    @staticmethod
    def __new__(cls, meta: Tensor) -> _ShapeOnly:
        made: _ShapeOnly = torch.Tensor._make_wrapper_subclass(
            cls,
            meta.shape,
            strides=meta.stride(),
            storage_offset=meta.storage_offset(),
            dtype=meta.dtype,
            device=torch.device("cpu"),
        )
        made.meta = meta
        return made

    def __init__(self, meta: Tensor) -> None:
        pass

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{func} ran on a tensor without numbers outside of its capture")


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every operation below autograd, with an id for every tensor it makes."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch would wrap our method in a guard against compilation, which loads the whole
        # compiler: four seconds of imports to look at a network that nobody compiles.
        return False

    def __init__(self, parameters: Mapping[str, Tensor], learnt: Collection[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values: list[Value] = []
        self.nodes: list[Node] = []
        self.calls: list[ModuleCall] = []
        self.stack: list[str] = [""]
        self._ids: dict[int, int] = {}
        # Keeps every tensor alive: Python reuses the id() of one that has died.
        self._alive: list[Tensor] = []
        self._storages: dict[int, int] = {}
        # For each storage that was written to, the value that was written last.
        self._written: dict[int, int] = {}
        for name, tensor in parameters.items():
            self.new_value(tensor, name, name in learnt)

    def new_value(
        self, tensor: Tensor, parameter: str | None = None, trainable: bool = False
    ) -> int:
        """Give ``tensor`` a fresh id, also if it had one, as after an in-place operation."""
        self._alive.append(tensor)
        self._ids[id(tensor)] = len(self.values)
        dtype = _name(tensor.dtype)
        storage = self._storages.setdefault(_storage(tensor), len(self._storages))
        shape = tuple(tensor.shape)
        self.values.append(Value(shape, dtype, parameter, trainable, storage))
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
        return known if written <= known else self._reread(tensor, known, written)

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
        result = _on_shapes(func, args, kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if made:
            outputs = tuple(self.new_value(tensor) for tensor in made)
            if func._schema.is_mutable:
                self._written.update({self.values[value].storage: value for value in outputs})
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


@functools.cache
def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _storage(tensor: Tensor) -> int:
    """What identifies the memory of a tensor while it lives."""
    meta = tensor.meta if isinstance(tensor, _ShapeOnly) else tensor
    return int(meta.untyped_storage()._cdata)


def _sketch(tensor: Tensor) -> Tensor:
    """The tensor's shape in the plain layout: what a network is does not depend on its layout."""
    return _ShapeOnly(torch.empty(tensor.shape, dtype=tensor.dtype, device="meta"))


def _on_shapes(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run one operation on the meta twins of its arguments and wrap what it makes.

    What an in-place operation returns is the argument itself, as it would be.
    """
    wrapped: dict[int, Tensor] = {}

    def to_meta(tensor: Tensor) -> Tensor:
        meta = tensor.meta if isinstance(tensor, _ShapeOnly) else tensor.to("meta")
        wrapped[id(meta)] = tensor
        return meta

    def from_meta(meta: Tensor) -> Tensor:
        return wrapped[id(meta)] if id(meta) in wrapped else _ShapeOnly(meta)

    if "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("meta")}
    args, kwargs = tree_map_only(Tensor, to_meta, (args, kwargs))
    return tree_map_only(Tensor, from_meta, shapes_of(func, args, kwargs))


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
