"""What a recipe leaves open, decided by fixed rules of data, network and machine.

Never by timing: the same command must give the same numbers, and timings differ from day to day.
"""

from __future__ import annotations

import math
import multiprocessing
from typing import TypeVar

import torch
from torch import nn

from vertebra.anatomy import Graph, dissect, taps_in_padding
from vertebra.core import VertebraError
from vertebra.core.preprocessing import channel_statistics
from vertebra.data import ImageDataset, Sampling, steps_per_epoch
from vertebra.machine import Machine, describe
from vertebra.runs import Recipe
from vertebra.runs.sections import DataSection, TrainSection
from vertebra.runtime import has_compiler
from vertebra.train.group import Group
from vertebra.train.norms import LEAST_IMAGES
from vertebra.train.optimizer import make_optimizer
from vertebra.train.schedule import total_steps
from vertebra.train.start import pretrained_preprocessing, weights_path
from vertebra.zoo import of_recipe

# Images to train on below which no process is started to read them beside a CPU.
LEAST_FOR_A_WORKER = 256

Value = TypeVar("Value")


def resolve(
    recipe: Recipe, dataset: ImageDataset, machine: Machine, group: Group | None = None
) -> Recipe:
    """The recipe with every open field that decides numbers filled in, for a group of processes.

    Raises:
        VertebraError: the network cannot be built for this data, or takes no such images; or fields
            that contradict each other or the data.
    """
    group = group or Group()
    data = recipe.data
    published = of_recipe.row(recipe)
    weights = weights_path(recipe.model.weights)
    pretrained = pretrained_preprocessing(recipe)
    device = recipe.train.device or default_device()
    cores = max(1, machine.cores // group.here)
    size = data.image_size or dataset.source.native_size or published.input_size[1]
    mean, std = channel_statistics(dataset.channels)
    resize, interpolation = size, "bilinear"
    if pretrained is not None:
        fitting = pretrained.for_channels(dataset.channels).for_size(size)
        mean, std, interpolation = fitting.mean, fitting.std, fitting.interpolation
        resize = fitting.resize
    resolved = recipe.override(
        **{
            "model.weights": weights,
            "model.num_classes": recipe.model.num_classes or len(dataset.classes),
            "model.in_chans": recipe.model.in_chans or dataset.channels,
            "model.dropout": _given_or(recipe.model.dropout, published.dropout),
            "model.drop_path": _given_or(recipe.model.drop_path, published.drop_path),
            "data.source": dataset.source.name,
            "data.channels": dataset.channels,
            "data.image_size": size,
            "data.resize": data.resize or resize,
            "data.resize_filter": data.resize_filter or interpolation,
            "data.mean": data.mean or mean,
            "data.std": data.std or std,
            "train.device": device,
            "train.threads": recipe.train.threads or cores,
            "train.workers": _given_or(
                recipe.train.workers, default_workers(device, cores, dataset)
            ),
            "train.compile": bool(recipe.train.compile),
        }
    )
    _check(resolved, dataset)
    check_schedule(resolved.train, resolved.data, len(dataset.train))
    with torch.device("meta"):
        net = of_recipe.build(resolved)
    graph = dissect(net, (dataset.channels, size, size)).graph
    smallest = _smallest_size(resolved)
    small = graph
    if smallest < size:
        small = dissect(net, (dataset.channels, smallest, smallest)).graph
    # Auxiliary heads may take other sizes than the network itself.
    for side in {size, *(stage for _, stage in data.progressive)}:
        net.forward_train(torch.empty(2, dataset.channels, side, side, device="meta"))
    make_optimizer(net, resolved.train)
    if recipe.train.precision == "bf16" and resolved.train.device == "cpu":
        _check_bf16(net, small, smallest)
    few = images_at_once(recipe, len(dataset.train), group.world) < LEAST_IMAGES
    resolved = resolved.override(
        **{
            "train.precision": recipe.train.precision
            or default_precision(net, small, resolved.train.device or "cpu", machine),
            "train.channels_last": True
            if recipe.train.channels_last is None
            else recipe.train.channels_last,
            "train.frozen_norm": _given_or(recipe.train.frozen_norm, weights is not None and few),
            "train.sync_norm": _given_or(recipe.train.sync_norm, group.world > 1 and few),
        }
    )
    check_shares(resolved, len(dataset.train), group.world)
    if not resolved.train.frozen_norm:
        least = min(micro_batches(resolved, len(dataset.train), group.world))
        _check_batch_norm(small, least * (group.world if resolved.train.sync_norm else 1))
    return resolved


def _given_or(given: Value | None, otherwise: Value) -> Value:
    return otherwise if given is None else given


def images_at_once(recipe: Recipe, samples: int, world: int) -> int:
    """Images of the largest micro-batch in one process, whose statistics a batch norm takes."""
    share = share_of_a_step(recipe, samples, world)
    return min(share, recipe.train.micro_batch or share)


def share_of_a_step(recipe: Recipe, samples: int, world: int) -> int:
    """Images of a whole step in one process, at most."""
    return -(-min(recipe.train.batch_size, samples) // world)


def micro_batches(recipe: Recipe, samples: int, world: int) -> set[int]:
    """The sizes of all micro-batches that will occur in any process."""
    most, found = recipe.train.micro_batch, set[int]()
    for images in _batches(recipe, samples):
        for share in _shares(images, world):
            size = min(share, most or share)
            found |= {size, share % size or size}
    return found


def _batches(recipe: Recipe, samples: int) -> set[int]:
    """The sizes of all batches that will occur, over all processes."""
    size = min(recipe.train.batch_size, samples)
    last = samples % size if recipe.data.short_batch == "keep" else 0
    return {size, last or size}


def _shares(images: int, world: int) -> set[int]:
    """How many images of a batch a process has: as many as any other, or one more."""
    return {images // world, -(-images // world)}


def default_workers(device: str, cores: int, dataset: ImageDataset) -> int:
    """Processes that read and augment images; they change no number.

    Beside a CPU's training one, where there is a second core: augmentation is then done while the
    step before is learnt from. None for few images, whose epochs are shorter than starting it, nor
    for those that lie in memory in a network's size. Beside a GPU, whatever the images, as many as
    this process has cores, at most eight, and one left for itself.
    """
    if multiprocessing.current_process().daemon:  # which may start no others
        return 0
    if device.startswith("cuda"):
        return min(8, cores - 1)
    in_files = dataset.source.native_size is None
    return int(cores > 1 and in_files and len(dataset.train) >= LEAST_FOR_A_WORKER)


def default_device() -> str:
    """A GPU if PyTorch can use one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def default_precision(net: nn.Module, graph: Graph, device: str, machine: Machine) -> str:
    """bf16 where the device multiplies it in hardware; on a CPU not for :func:`unsafe_in_bf16`
    networks, which would train on wrong gradients.
    """
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if machine.has_bf16 and unsafe_in_bf16(net, graph) is None else "fp32"


def bf16_is_worth_timing(recipe: Recipe) -> bool:
    """Whether the device multiplies bfloat16, and the network's gradients are right in it."""
    with torch.device("meta"):
        net = of_recipe.build(recipe)
    size = _smallest_size(recipe)
    graph = dissect(net, (recipe.data.channels or 0, size, size)).graph
    return default_precision(net, graph, recipe.train.device or "cpu", describe()) == "bf16"


def _smallest_size(recipe: Recipe) -> int:
    """Of the images that a resolved recipe trains on at any time."""
    return min([recipe.data.image_size or 0, *(size for _, size in recipe.data.progressive)])


def unsafe_in_bf16(net: nn.Module, graph: Graph) -> str | None:
    """Where a weight's gradient may hold anything in bf16 on the CPU, None if nowhere.

    That is a kernel tap in padding (see :mod:`vertebra.train.float32_convs`) of a convolution that
    is no module of its own, so that it cannot be kept in float32.
    """
    return next(
        (
            node.module or "the network"
            for node in taps_in_padding(graph)
            if not isinstance(net.get_submodule(node.module), nn.Conv2d)
        ),
        None,
    )


def _check_bf16(net: nn.Module, graph: Graph, size: int) -> None:
    layer = unsafe_in_bf16(net, graph)
    if layer is not None:
        raise VertebraError(
            f"bf16 is not safe on the CPU with images of {size} pixels: in {layer} a map is so "
            f"small that part of a kernel meets only padding, where PyTorch leaves the "
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
                    f"channel; no train.batch_size or train.micro_batch may leave a single image, "
                    f"or data.image_size must be larger"
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
    if recipe.train.precision == "fp16" and recipe.train.sam_rho is not None:
        raise VertebraError(
            "train.sam_rho moves the weights by their gradients, which fp16 has scaled; "
            "use train.precision=bf16 or fp32"
        )
    if recipe.model.weights is None and recipe.train.head_first.value:
        raise VertebraError(
            "a head on random features learns little: train.head_first needs model.weights"
        )
    if recipe.train.shard and (recipe.train.compile or recipe.train.head_first.value):
        what = "train.compile" if recipe.train.compile else "train.head_first"
        raise VertebraError(f"train.shard goes with what never changes in a run, not with {what}")
    check_device(recipe.train.device or "cpu")
    if recipe.train.compile:
        check_compiler(recipe.train.device or "cpu")


def check_schedule(section: TrainSection, data: DataSection, samples: int) -> None:
    """Refuse what begins after the run has ended.

    Raises:
        VertebraError: a warm-up, a step of the rate, the head's time alone or a training size that
            is longer than the run or begins after it.
    """
    sampling = Sampling(section.batch_size, data.balanced, data.repeats, data.short_batch)
    steps = steps_per_epoch(samples, sampling)
    total = total_steps(section, steps)
    parts = [
        ("train.warmup", section.warmup, total),
        ("train.head_first", section.head_first, total),
    ]
    if section.schedule == "step":
        if section.step_every is not None:
            parts.append(("train.step_every", section.step_every, total - 1))
        parts += [("train.step_at", at, total - 1) for at in section.step_at]
    parts += [("data.progressive", start, total - 1) for start, _ in data.progressive]
    for name, duration, most in parts:
        if duration.steps(steps) > most:
            raise VertebraError(
                f"{name} ({duration}, {duration.steps(steps)} steps) is longer than the run "
                f"({section.duration}, {total} steps of {steps} an epoch)"
            )


def check_shares(recipe: Recipe, samples: int, world: int) -> None:
    """Refuse batches that would keep processes waiting for each other for ever.

    Raises:
        VertebraError: a batch that has no image for some process, or micro-batches whose number
            differs between processes that synchronise each.
    """
    most, section = recipe.train.micro_batch, recipe.train
    for images in _batches(recipe, samples):
        if images < world:
            raise VertebraError(
                f"a batch of {images} images cannot be divided between {world} processes"
            )
        counts = {-(-share // (most or share)) for share in _shares(images, world)}
        together = "train.shard" if section.shard else "train.sync_norm"
        if (section.sync_norm or section.shard) and len(counts) > 1:
            raise VertebraError(
                f"{together} needs as many micro-batches in each of {world} processes, and of "
                f"{images} images one would have {min(counts)} and another {max(counts)}; "
                f"change train.batch_size or train.micro_batch"
            )


def check_compiler(device: str) -> None:
    """Refuse to compile where nothing compiles.

    Raises:
        VertebraError: no C++ compiler, which torch.compile needs on a CPU.
    """
    if torch.device(device).type == "cpu" and not has_compiler():
        raise VertebraError(
            "train.compile needs a C++ compiler on the CPU, and none is found (c++, g++ or clang++)"
        )


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
