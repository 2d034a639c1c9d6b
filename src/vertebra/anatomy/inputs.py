"""What a network is fed, and what is said when it cannot digest it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from vertebra.core import VertebraError, place_of

Shape = tuple[int, ...]
Described = tuple[Shape, torch.dtype]


def described(
    model: nn.Module,
    input_size: Sequence[int] | None,
    batch: int,
    inputs: Sequence[Tensor | Sequence[int]] | None,
) -> list[Described]:
    """Shape and type of each argument of the forward, from what the caller gave.

    Raises:
        VertebraError: no input size is known, what was given is none, or too much was given.
    """
    _check_network(model)
    if isinstance(inputs, Tensor | str) or not isinstance(inputs, Sequence | None):
        kind = type(inputs).__name__
        text = f"inputs takes one tensor or shape an argument, in a list; got {kind}"
        raise VertebraError(text)
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise VertebraError(f"batch must be a whole number, 1 or more; got {batch!r}")
    if inputs is None:
        return [((batch, *_input_size(model, input_size)), float_type(model))]
    if input_size is None and batch == 1:
        return [_described(one) for one in inputs]
    raise VertebraError("give either inputs, which hold the batch, or input_size and batch")


def _check_network(model: Any) -> None:
    """Refuse what cannot be taken apart as it is, and say what could."""
    if not isinstance(model, nn.Module):
        text = f"the network should be a torch.nn.Module, got {type(model).__name__} {model!r:.40}"
        hint = f"; zoo.create({model!r}) may give one" if isinstance(model, str) else ""
        raise VertebraError(text + hint)
    if isinstance(model, torch.jit.ScriptModule):
        raise VertebraError("TorchScript cannot be looked into; give the module it was made from")
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise VertebraError(f"{type(model).__name__} is a wrapper; give its .module")
    lazy = [name for name, p in model.named_parameters() if isinstance(p, UninitializedParameter)]
    if lazy:
        text = f"{lazy[0]} has no size yet; run {name_of(model)} once on a real input"
        raise VertebraError(text)


def float_type(model: nn.Module) -> torch.dtype:
    """The type of the images that a network takes: that of its first floating-point parameter."""
    kinds = (p.dtype for p in model.parameters() if p.is_floating_point())
    return next(kinds, torch.float32)


def _input_size(model: nn.Module, given: Sequence[int] | None) -> Shape:
    size = given if given is not None else getattr(model, "input_size", None)
    if size is None:
        raise VertebraError(f"{name_of(model)} does not say its input size; give input_size")
    try:
        numbers = tuple(int(extent) for extent in size)
    except (TypeError, ValueError):
        raise VertebraError(f"input_size should be like (3, 224, 224), got {size!r}") from None
    if not numbers or min(numbers) < 1:
        raise VertebraError(f"input_size should be like (3, 224, 224), got {size!r}")
    return numbers


def name_of(model: nn.Module) -> str:
    """What a network calls itself, else what its class is called."""
    own = getattr(model, "name", None)
    return own if isinstance(own, str) and own else type(model).__name__


def _described(given: Tensor | Sequence[int]) -> Described:
    if isinstance(given, Tensor):
        return tuple(given.shape), given.dtype
    whole = isinstance(given, Sequence) and all(type(extent) is int for extent in given)
    if not whole or isinstance(given, str):
        text = f"each of inputs should be a tensor or a shape like (1, 3, 224, 224), got {given!r}"
        raise VertebraError(text)
    return tuple(given), torch.float32


@contextlib.contextmanager
def explained(model: nn.Module, given: Sequence[Described]) -> Iterator[None]:
    """Turn whatever a forward raises into one line that names the model and its input."""
    try:
        yield
    except VertebraError:
        raise
    except (Exception, SystemExit) as error:  # a forward may raise anything
        shapes = " and ".join(str(shape) for shape, _ in given)
        text = f"{name_of(model)} cannot run on an input of shape {shapes}: "
        line = place_of(error)
        text += _where(model, error) + _reason(error) + (f" ({line})" if line else "")
        raise VertebraError(text) from error


# What PyTorch says where a forward asks a tensor without numbers for one.
_NUMBERS_WANTED = (
    "item() cannot be called",
    "_local_scalar_dense",
    "nonzero",
    ".numpy() is not supported",
    "without numbers outside of its capture",
)


def _reason(error: BaseException) -> str:
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if any(mark in str(error) for mark in _NUMBERS_WANTED):
        return (
            "it reads the numbers of a tensor, and there are none here; "
            "it needs to compute with tensors alone, and to choose by shapes or torch.where"
        )
    return said


FAILED_IN = "vertebra: failed in "


def _where(model: nn.Module, error: BaseException) -> str:
    """The innermost module that was running, by its path and kind, if it is not the whole."""
    notes: list[str] = getattr(error, "__notes__", [])
    paths = [note.removeprefix(FAILED_IN) for note in notes if note.startswith(FAILED_IN)]
    if not paths or not paths[0]:
        return ""
    return f"in {paths[0]} ({type(model.get_submodule(paths[0])).__name__}) "
