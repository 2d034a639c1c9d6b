"""What a network is fed, and what is said when it cannot digest it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from vertebra.core import VertebraError

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
    if inputs is None:
        return [((batch, *_input_size(model, input_size)), torch.float32)]
    if input_size is None and batch == 1:
        return [_described(one) for one in inputs]
    raise VertebraError("give either inputs, which hold the batch, or input_size and batch")


def _input_size(model: nn.Module, given: Sequence[int] | None) -> Shape:
    size = given if given is not None else getattr(model, "input_size", None)
    if size is None:
        raise VertebraError(f"{type(model).__name__} does not say its input size; give input_size")
    try:
        numbers = tuple(int(extent) for extent in size)
    except (TypeError, ValueError):
        raise VertebraError(f"input_size should be like (3, 224, 224), got {size!r}") from None
    if not numbers or min(numbers) < 1:
        raise VertebraError(f"input_size should be like (3, 224, 224), got {size!r}")
    return numbers


def _described(given: Tensor | Sequence[int]) -> Described:
    if isinstance(given, Tensor):
        return tuple(given.shape), given.dtype
    try:
        return tuple(int(extent) for extent in given), torch.float32
    except (TypeError, ValueError):
        text = f"each of inputs should be a tensor or a shape like (1, 3, 224, 224), got {given!r}"
        raise VertebraError(text) from None


@contextlib.contextmanager
def explained(model: nn.Module, given: Sequence[Described]) -> Iterator[None]:
    """Turn whatever a forward raises into one line that names the model and its input."""
    try:
        yield
    except VertebraError:
        raise
    except Exception as error:  # a forward may raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        shapes = " and ".join(str(shape) for shape, _ in given)
        text = f"{type(model).__name__} cannot run on an input of shape {shapes}: {reason}"
        raise VertebraError(text) from error
