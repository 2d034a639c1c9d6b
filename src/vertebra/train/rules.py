"""What a recipe leaves open, decided by fixed rules of data, network and machine.

Never by timing: the same command must give the same numbers, and timings differ from day to day.
"""

from __future__ import annotations

import math

import torch

from vertebra.anatomy import Graph, dissect, taps_in_padding
from vertebra.anatomy.macs import count
from vertebra.core import VertebraError
from vertebra.core.preprocessing import channel_statistics
from vertebra.data import ImageDataset
from vertebra.machine import Machine
from vertebra.runs import Recipe
from vertebra.zoo import of_recipe

# Depthwise convolutions are bound by a CPU's memory: bfloat16 saves little arithmetic and pays for
# its conversions. Dense networks gain about 1.7 times on a CPU that has it (see docs/decisions).
MOST_DEPTHWISE = 0.05


def resolve(recipe: Recipe, dataset: ImageDataset, machine: Machine) -> Recipe:
    """The recipe with every open field that decides numbers filled in.

    Raises:
        VertebraError: the network cannot be built for this data, or takes no such images.
    """
    data = recipe.data
    published = of_recipe.row(recipe)
    size = data.image_size or dataset.source.native_size or published.input_size[1]
    mean, std = channel_statistics(dataset.channels)
    resolved = recipe.override(
        **{
            "model.num_classes": recipe.model.num_classes or len(dataset.classes),
            "model.in_chans": recipe.model.in_chans or dataset.channels,
            "model.dropout": _given_or(recipe.model.dropout, published.dropout),
            "model.drop_path": _given_or(recipe.model.drop_path, published.drop_path),
            "data.source": dataset.source.name,
            "data.channels": dataset.channels,
            "data.image_size": size,
            "data.resize": data.resize or size,
            "data.mean": data.mean or mean,
            "data.std": data.std or std,
            "train.device": recipe.train.device or default_device(),
            "train.threads": recipe.train.threads or machine.cores,
            "train.workers": recipe.train.workers or 0,
        }
    )
    _check(resolved, dataset)
    with torch.device("meta"):
        net = of_recipe.build(resolved)
    graph = dissect(net, (dataset.channels, size, size)).graph
    # Auxiliary heads may take other sizes than the network itself.
    net.forward_train(torch.empty(2, dataset.channels, size, size, device="meta"))
    if recipe.train.precision == "bf16" and resolved.train.device == "cpu":
        _check_bf16(graph, size)
    _check_batch_norm(graph, min(recipe.train.batch_size, len(dataset.train)))
    return resolved.override(
        **{
            "train.precision": recipe.train.precision
            or default_precision(graph, resolved.train.device or "cpu", machine),
            "train.channels_last": True
            if recipe.train.channels_last is None
            else recipe.train.channels_last,
        }
    )


def _given_or(given: float | None, published: float) -> float:
    return published if given is None else given


def default_device() -> str:
    """A GPU if PyTorch can use one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def default_precision(graph: Graph, device: str, machine: Machine) -> str:
    """bf16 where the device multiplies it in hardware; on a CPU with two exceptions.

    Mostly depthwise networks gain nothing there, and :func:`unsafe_in_bf16` ones would train on
    wrong gradients.
    """
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    gains = machine.has_bf16 and depthwise_share(graph) <= MOST_DEPTHWISE
    return "bf16" if gains and unsafe_in_bf16(graph) is None else "fp32"


def unsafe_in_bf16(graph: Graph) -> str | None:
    """A layer whose weight gradient may hold anything in bf16 on the CPU, None if there is none.

    Where a kernel tap only ever meets padding, PyTorch's CPU kernels (2.15, oneDNN 3.13) leave its
    gradient unwritten in bfloat16 for many shapes: it is whatever stood in that memory. float32 is
    right.
    """
    return next((node.module for node in taps_in_padding(graph)), None)


def depthwise_share(graph: Graph) -> float:
    """The part of all convolutions' multiply-accumulates that depthwise ones do."""
    total = depthwise = 0
    for node in graph.nodes:
        if node.operation != "aten.convolution":
            continue
        weight = graph.values[node.operands["weight"][0]].shape
        macs = count(graph, node) or 0
        total += macs
        depthwise += macs if weight[1] == 1 and node.attributes["groups"] > 1 else 0
    return depthwise / total if total else 0.0


def _check_bf16(graph: Graph, size: int) -> None:
    layer = unsafe_in_bf16(graph)
    if layer is not None:
        raise VertebraError(
            f"bf16 is not safe on the CPU with images of {size} pixels: the map before {layer} is "
            f"so small that part of its kernel meets only padding, where PyTorch leaves the "
            f"gradient unset; use train.precision=fp32 or a larger data.image_size"
        )


def _check_batch_norm(graph: Graph, batch_size: int) -> None:
    """Batch norm has no variance to divide by where a channel has one value in the whole batch."""
    for node in graph.nodes:
        if "batch_norm" in node.operation:
            values = math.prod(graph.values[node.operands["input"][0]].shape[2:])
            if batch_size * values == 1:
                raise VertebraError(
                    f"a batch of one image leaves {node.module or 'a batch norm'} one value a "
                    f"channel; train.batch_size must be at least 2, or data.image_size larger"
                )


def _check(recipe: Recipe, dataset: ImageDataset) -> None:
    """Refuse what pydantic cannot see because it takes two fields or the data."""
    classes, wanted = len(dataset.classes), recipe.model.num_classes or 0
    if wanted < classes:
        raise VertebraError(f"model.num_classes is {wanted}, but the data has {classes} classes")
    if recipe.model.in_chans != dataset.channels:
        raise VertebraError(
            f"model.in_chans is {recipe.model.in_chans}, but the images are read with "
            f"{dataset.channels} channels (data.channels)"
        )
    for name, values in (("mean", recipe.data.mean), ("std", recipe.data.std)):
        if values is not None and len(values) != dataset.channels:
            raise VertebraError(f"data.{name} needs {dataset.channels} values, got {len(values)}")
    if (recipe.data.resize or 0) < (recipe.data.image_size or 0):
        raise VertebraError("data.resize must not be below data.image_size, which is cut from it")
    if recipe.train.warmup_epochs > recipe.train.epochs:
        raise VertebraError(
            f"train.warmup_epochs ({recipe.train.warmup_epochs:g}) is longer than the run "
            f"({recipe.train.epochs} epochs)"
        )
    check_device(recipe.train.device or "cpu")


def check_device(name: str) -> None:
    """Refuse a device that is not there.

    Raises:
        VertebraError: no device of that name, or not on this machine.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise VertebraError(f"train.device '{name}' is no device; use cpu, cuda or cuda:1")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise VertebraError(f"train.device is {name}, but PyTorch finds no such GPU")
