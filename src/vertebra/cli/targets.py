"""The networks that ``show`` and ``compare`` are asked about, and what they are fed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from torch import Tensor, dtype, nn

Target = Annotated[
    str,
    typer.Argument(help="A model's name, a run folder, or package.module:factory of your own."),
]
ImageSize = Annotated[
    int | None, typer.Option(min=1, help="Pixels of a side; the model's own if not given.")
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        help="Shape of one input without its batch, as 3x224x224 or 77:int64; may be repeated.",
    ),
]
Convention = Annotated[str, typer.Option(help="How MACs are counted: torchvision, fvcore or full.")]
Batch = Annotated[int | None, typer.Option(min=1, help="Images in the batch; 1 if not given.")]


@dataclass(frozen=True)
class Subject:
    """A network, what it is called, and one tensor of the right shape and type an input."""

    net: nn.Module
    name: str
    inputs: list[Tensor]


def opened(target: str, image_size: int | None, inputs: list[str] | None, batch: int) -> Subject:
    """The network of a target with inputs as given, or of its own size."""
    import torch

    from vertebra.anatomy import float_type
    from vertebra.core import VertebraError
    from vertebra.zoo.subjects import size_of, subject

    if image_size and inputs:
        raise VertebraError("give either --image-size or --input")
    shapes = [_described(text) for text in inputs or ()]
    only = shapes[0][0] if len(shapes) == 1 and len(shapes[0][0]) == 3 else None
    size = (only[0], only[1], only[2]) if only else None
    if image_size and size is None and ":" not in target:
        net, name = subject(target)
        channels = (size_of(net) or (3,))[0]
        size = (channels, image_size, image_size)
    net, name = subject(target, size)
    if not shapes:
        own = size or size_of(net)
        if image_size:  # also of a network of a factory that says another size
            own = ((own or (3,))[0], image_size, image_size)
        if own is None:
            raise VertebraError(f"{name} does not say its input size; give --input 3x224x224")
        shapes = [(own, None)]
    kind = float_type(net)  # unless another one is asked for
    tensors = [torch.empty((batch, *s), dtype=given or kind, device="meta") for s, given in shapes]
    return Subject(net, name, tensors)


_SHORT = {"fp32": "float32", "fp64": "float64", "fp16": "float16", "bf16": "bfloat16"}
_SHORT.update({"float": "float32", "half": "float16", "long": "int64", "int": "int32"})


def _described(text: str) -> tuple[tuple[int, ...], dtype | None]:
    """ "3x224x224" or "77:int64" -> shape and type; None where no type was given."""
    import torch

    from vertebra.core import parse_shape, unknown

    shape, _, kind = text.partition(":")
    known = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool")
    kind = _SHORT.get(kind, kind)
    if kind and kind not in known:
        raise unknown("type", kind, known)
    found: dtype | None = getattr(torch, kind) if kind else None
    return parse_shape(shape), found
