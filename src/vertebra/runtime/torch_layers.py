"""Where the time of a network goes in PyTorch, by its profiler."""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from vertebra.runtime.session import LayerTime

_MODULE = "vertebra module: "
_COMPILED = re.compile(r"graph_\d+_cpp_fused_+")  # what Inductor calls the kernels that it writes
# One operation of a run: its name, its kind and its seconds.
Row = tuple[str, str, float]


def layers_by_module(
    net: nn.Module, run: Callable[[], object], precision: str, rounds: int
) -> list[LayerTime]:
    """Operations by the path of the module that they ran in; on a GPU the time of their kernels."""
    with _announced(net):
        rows = [_outermost(_profiled(run), _named_by_module) for _ in range(rounds)]
    return _medians(rows, precision)


def layers_by_kernel(run: Callable[[], object], precision: str, rounds: int) -> list[LayerTime]:
    """Operations of a compiled network, numbered: several may have one name."""
    rows = [_outermost(_profiled(run), _named_by_place) for _ in range(rounds)]
    return _medians(rows, precision)


def kernels_on_device(run: Callable[[], object], precision: str, rounds: int) -> list[LayerTime]:
    """Kernels that ran on a GPU, numbered, whatever launched them."""
    on_gpu = DeviceType.CUDA
    rows = []
    for _ in range(rounds):
        kernels = [event for event in _profiled(run) if event.device_type == on_gpu]
        kernels.sort(key=lambda event: event.time_range.start)
        rows.append(
            [
                (f"{place}: {event.name}", "kernel", event.time_range.elapsed_us() / 1e6)
                for place, event in enumerate(kernels)
            ]
        )
    return _medians(rows, precision)


def _profiled(run: Callable[[], object]) -> list[Any]:
    """The events of one run, parents before their children."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it reports each missing GPU as an error
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        run()
    return list(profiler.events() or ())


def _outermost(events: list[Any], named: Callable[[int, Any], str]) -> list[Row]:
    """Operations that no other operation called."""
    rows: list[Row] = []
    for event in events:
        if not _is_operation(event) or any(map(_is_operation, _ancestors(event))):
            continue
        seconds = (event.device_time_total or event.cpu_time_total) / 1e6
        kind = "fused" if _COMPILED.match(event.name) else _short(event)
        rows.append((named(len(rows), event), kind, seconds))
    return rows


def _is_operation(event: Any) -> bool:
    """One of PyTorch's own, or a kernel that was compiled; not what merely surrounds them."""
    return "::" in event.name or _COMPILED.match(event.name) is not None


def _ancestors(event: Any) -> Iterator[Any]:
    while event.cpu_parent is not None:
        event = event.cpu_parent
        yield event


def _named_by_module(_place: int, event: Any) -> str:
    paths = (up.name for up in _ancestors(event) if up.name.startswith(_MODULE))
    return next(paths, _MODULE).removeprefix(_MODULE)


def _named_by_place(place: int, event: Any) -> str:
    return f"{place}: {_short(event)}"


def _short(event: Any) -> str:
    return _COMPILED.sub("", event.name.rpartition("::")[2])


def _medians(rounds: list[list[Row]], precision: str) -> list[LayerTime]:
    return [
        LayerTime(name, kind, statistics.median(row[2] for row in same), precision)
        for same in zip(*rounds, strict=True)
        for name, kind, _ in same[:1]
    ]


@contextmanager
def _announced(net: nn.Module) -> Iterator[None]:
    """Every module's forward as a span of the profiler, under the module's path."""
    spans: list[Any] = []
    handles = []

    def before(path: str) -> Callable[..., None]:
        def enter(*_given: Any) -> None:
            spans.append(record_function(_MODULE + path))
            spans[-1].__enter__()

        return enter

    def after(*_given: Any) -> None:
        spans.pop().__exit__(None, None, None)

    try:
        for path, module in net.named_modules():
            handles.append(module.register_forward_pre_hook(before(path)))
            handles.append(module.register_forward_hook(after))
        yield
    finally:
        for handle in handles:
            handle.remove()
