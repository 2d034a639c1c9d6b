"""Tensors that have shape, strides and type but no numbers, and operations on them.

They say that they lie on the CPU, so that everything that asks for a device (autocast, attention's
choice of kernel) does as it would there; shapes are computed by :mod:`.shapes` and PyTorch's meta
kernels. ``FakeTensorMode`` would do as much, but loads the compiler: four seconds of imports (see
docs/decisions).
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from vertebra.anatomy.inputs import FAILED_IN
from vertebra.anatomy.shapes import shapes_of


class ShapeOnly(torch.Tensor):
    """A tensor on the CPU that has shape, strides and type but no numbers.

    ``meta`` is its twin on the meta device, on which shapes are computed.
    """

    meta: Tensor

    @staticmethod
    def __new__(cls, meta: Tensor) -> ShapeOnly:
        """Wrap a meta tensor."""
        made: ShapeOnly = torch.Tensor._make_wrapper_subclass(
            cls,
            meta.shape,
            strides=meta.stride(),
            storage_offset=meta.storage_offset(),
            dtype=meta.dtype,
            device=torch.device("cpu"),
            storage_size=meta.untyped_storage().nbytes(),
        )
        made.meta = meta
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        """For a forward that prints what it has."""
        return f"<{self.meta.dtype} of {tuple(self.meta.shape)}, without numbers>"

    def __format__(self, _spec: str) -> str:
        return repr(self)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{func} ran on a tensor without numbers outside of its capture")


class ShapeMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs every operation on shapes; what its subclasses want to know of it, they override.

    ``stack`` holds the paths of the modules that run, the innermost last.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stack: list[str] = [""]

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Say on an error which module it came from: its hooks do not run any more."""
        if error is not None:
            error.add_note(FAILED_IN + self.stack[-1])
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch would wrap our method in a guard against compilation, which loads the whole
        # compiler: four seconds of imports to look at a network that nobody compiles.
        return False


def sketch(tensor: Tensor) -> Tensor:
    """The tensor's shape in the plain layout: what a network is does not depend on its layout."""
    return ShapeOnly(torch.empty(tensor.shape, dtype=tensor.dtype, device="meta"))


def storage_of(tensor: Tensor) -> int:
    """What identifies the memory of a tensor while it lives."""
    meta = tensor.meta if isinstance(tensor, ShapeOnly) else tensor
    return int(meta.untyped_storage()._cdata)


def on_shapes(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run one operation on the meta twins of its arguments and wrap what it makes.

    What an in-place operation returns is the argument itself, as it would be.
    """
    wrapped: dict[int, Tensor] = {}

    def to_meta(tensor: Tensor) -> Tensor:
        meta = tensor.meta if isinstance(tensor, ShapeOnly) else tensor.to("meta")
        wrapped[id(meta)] = tensor
        return meta

    def from_meta(meta: Tensor) -> Tensor:
        return wrapped[id(meta)] if id(meta) in wrapped else ShapeOnly(meta)

    if "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("meta")}
    args, kwargs = tree_map_only(Tensor, to_meta, (args, kwargs))
    made = tree_map_only(Tensor, from_meta, shapes_of(func, args, kwargs))
    if func._schema.is_mutable:
        _follow(wrapped.values())
    return made


def _follow(tensors: Iterable[Tensor]) -> None:
    """Give wrappers the shapes of their twins, where an operation changed them in place."""
    for tensor in tensors:
        if isinstance(tensor, ShapeOnly) and (
            tensor.shape != tensor.meta.shape or tensor.stride() != tensor.meta.stride()
        ):
            size, stride = tensor.meta.shape, tensor.meta.stride()
            # Past our own handlers: only what PyTorch notes down of the wrapper shall change.
            keys = torch._C.DispatchKeySet(torch._C.DispatchKey.Python)
            keys = keys | torch._C.DispatchKeySet(torch._C.DispatchKey.PythonTLSSnapshot)
            with torch._C._ExcludeDispatchKeyGuard(keys):
                offset = tensor.meta.storage_offset()
                torch.ops.aten.as_strided_.default(tensor, size, stride, offset)


@contextlib.contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Training or evaluation mode for the while; afterwards everything is as it was.

    Each module has its own mode again, each parameter its gradient, and what a forward stored in
    its module on the way (a table of positions, a cache) is gone.
    """
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    stored = [(module, _stored(module)) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, own in modes:
            module.training = own
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for module, before in stored:
            _restore(module, before)


def _places(module: nn.Module) -> Iterator[dict[str, Any]]:
    """Where a module keeps tensors, but for its parameters."""
    yield module.__dict__
    yield module._buffers
    yield from (v for v in module.__dict__.values() if type(v) is dict and v is not module._buffers)


def _is_without_numbers(value: Any) -> bool:
    if isinstance(value, list | tuple | dict):
        return any(isinstance(leaf, ShapeOnly) for leaf in tree_leaves(value))
    return isinstance(value, ShapeOnly)


def _stored(module: nn.Module) -> list[tuple[dict[Any, Any], dict[Any, Any]]]:
    return [(place, dict(place)) for place in _places(module)]


def _restore(module: nn.Module, before: list[tuple[dict[Any, Any], dict[Any, Any]]]) -> None:
    """Take out again what has no numbers."""
    known = {id(place): copy for place, copy in before}
    for place in list(_places(module)):
        copy = known.get(id(place), {})
        for key, value in list(place.items()):
            if _is_without_numbers(value):
                if key in copy:
                    place[key] = copy[key]
                else:
                    del place[key]


# Called with the module, its arguments and keywords, and, afterwards, its output.
Hook = Callable[..., None]


@contextlib.contextmanager
def watched(
    model: nn.Module, hooks: Callable[[str, nn.Module], tuple[Hook, Hook]]
) -> Iterator[None]:
    """Call a hook before and one after every module that runs; they are taken off again.

    ``hooks`` makes the two for a module at a path.
    """
    handles = []
    try:
        for path, module in model.named_modules():
            before, after = hooks(path, module)
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """No garbage collection for the while.

    A capture makes tens of thousands of objects and keeps them all: the collector would go through
    everything that PyTorch holds, find nothing, and take longer than the capture itself.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
