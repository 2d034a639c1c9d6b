"""Building a network by its name."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vertebra.core import VertebraError
from vertebra.zoo import weights as pretrained
from vertebra.zoo.family import Request
from vertebra.zoo.registry import family_of, row_of

if TYPE_CHECKING:
    from vertebra.nn import Backbone


def create(
    name: str,
    num_classes: int | None = None,
    in_chans: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    *,
    dropout: float | None = None,
    drop_path: float | None = None,
    input_size: tuple[int, int, int] | None = None,
    seed: int | None = None,
    **options: Any,
) -> Backbone:
    """Build a network, initialised or with pretrained weights.

    Args:
        name: a name from :func:`list_models`, or "timm/NAME" for any network of timm's.
        num_classes: width of the logits; 0 for no head; None for that of the pretrained weights,
            or as published (1000 for ImageNet's networks, 10 for CIFAR's and LeNet).
        in_chans: input channels; None for those of ``input_size``, or as published.
        weights: pretrained weights: torchvision's by name ("DEFAULT", "IMAGENET1K_V2"), timm's by
            tag ("timm:a1_in1k"), or the path of a ``.safetensors`` or ``.pth`` file. What is
            adapted to fit (classes, channels, positions) is told and stands in ``net.notes``.
            None: the network's own initialisation.
        dropout: rate of the head's dropout; None for as published (often none).
        drop_path: rate of stochastic depth at the last block; None for as published.
        input_size: (channels, height, width), on which some networks' weights depend; None for that
            of the pretrained weights, or as published.
        seed: for the initial weights; None takes one from PyTorch's global generator.
        **options: the family's own switches (``get(name).options``).

    Returns:
        The network in training mode, on the current default device. Built under
        ``torch.device("meta")`` it has shapes but no weights.

    Raises:
        VertebraError: an unknown name or option, a value out of range, images too small for the
            network, ``in_chans`` and ``input_size`` that contradict each other, or weights that
            cannot be had or do not fit.
    """
    import torch

    from vertebra.nn import initialise

    if not isinstance(name, str):
        raise VertebraError(f"create takes the name of a model, got {name!r}")
    if seed is None:
        seed = int(torch.randint(2**31, (), device="cpu"))
    family = family_of(name)
    chosen = family.resolve_options(options)
    row = row_of(name, chosen)
    if weights is not None and torch.get_default_device().type == "meta":
        raise VertebraError("a network on the meta device has no place for weights")
    # timm builds a network to read weights, and layers draw numbers while they are built, which are
    # then drawn anew by address: the fork keeps all that from moving the caller's generators.
    with torch.random.fork_rng(devices=_drawn_from()):
        found = None if weights is None else pretrained.find(name, _path_or_name(weights))
    height, width = row.input_size[1:]
    if found is not None and found.preprocessing is not None:
        height = width = found.preprocessing.size
    if input_size is not None:
        height, width = _image_size(input_size)
    request = Request(
        num_classes=_at_least(
            0, "num_classes", row.num_classes if num_classes is None else num_classes
        ),
        in_chans=_channels(row.input_size[0], in_chans, input_size),
        dropout=_rate("dropout", row.dropout if dropout is None else dropout),
        drop_path=_rate("drop_path", row.drop_path if drop_path is None else drop_path),
        input_size=(_channels(row.input_size[0], in_chans, input_size), height, width),
        options=chosen,
        seed=seed,
    )
    with torch.random.fork_rng(devices=_drawn_from()):
        net = family.build(name, row, request)
    net.options, net.smallest = chosen, row.smallest
    net.check_input_size()
    if family.init is not None:
        initialise(net, family.init(row, request), request.seed)
    if row.to_unit_range:
        half = (0.5,) * net.input_size[0]
        net.preprocessing = replace(net.preprocessing, mean=half, std=half)
    if found is not None:
        pretrained.load(net, found, any_classes=num_classes is None)
    return net


def _path_or_name(weights: str | os.PathLike[str]) -> str:
    if not isinstance(weights, str | os.PathLike):
        raise VertebraError(
            f"weights takes a name or a path, as text, got {type(weights).__name__}"
        )
    return os.fspath(weights)


def _drawn_from() -> list[int]:
    """The GPU on which modules are built, if they are."""
    import torch

    return [torch.cuda.current_device()] if torch.get_default_device().type == "cuda" else []


def _channels(published: int, in_chans: int | None, input_size: tuple[int, int, int] | None) -> int:
    """The one number that both arguments agree on."""
    if input_size is None:
        return published if in_chans is None else _at_least(1, "in_chans", in_chans)
    if in_chans is not None and input_size[0] != in_chans:
        raise VertebraError(
            f"in_chans is {in_chans}, but input_size {tuple(input_size)} has {input_size[0]} "
            f"channels"
        )
    return _at_least(1, "in_chans", input_size[0])


def _image_size(size: tuple[int, int, int]) -> tuple[int, int]:
    """(height, width) of (channels, height, width)."""
    try:
        _, height, width = size
    except (TypeError, ValueError):
        raise VertebraError(f"input_size should be like (3, 224, 224), got {size!r}") from None
    return _at_least(1, "input_size's height", height), _at_least(1, "input_size's width", width)


def _at_least(least: int, what: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise VertebraError(f"{what} must be a whole number of at least {least}, got {value!r}")
    return value


def _rate(what: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise VertebraError(f"{what} must be at least 0 and below 1, got {value!r}")
    return float(value)
