"""What is to be measured: every combination that was asked for, one cell each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vertebra.bench.names import cell_name
from vertebra.bench.subject import OPTIMIZER, keeps_freed_memory
from vertebra.core import VertebraError, unknown
from vertebra.evidence import Conditions
from vertebra.machine import Machine
from vertebra.runtime import LAYOUTS, TORCH_ENGINES, Setup, options, version
from vertebra.zoo import get

WORKLOADS = ("stream", "offline", "server", "train")
_TRAINS = ("eager", "compile")


@dataclass(frozen=True)
class Cell:
    """One network in one engine, under one workload.

    ``input_shape`` is (batch, channels, height, width); ``options`` are the workload's;
    ``catalogue`` the fingerprint that the catalogue has of it, where it has the network.
    """

    target: str
    fingerprint: str
    input_shape: tuple[int, ...]
    setup: Setup
    workload: str = "stream"
    options: Mapping[str, str] = field(default_factory=dict)
    catalogue: str | None = None

    def __str__(self) -> str:
        """As told to the user."""
        s, rate = self.setup, self.options.get("rate")
        return cell_name(
            self.target, s.engine, s.precision, s.layout, self.batch, self.workload, rate
        )

    @property
    def batch(self) -> int:
        """Images of a call."""
        return self.input_shape[0]

    def conditions(self, machine: Machine) -> Conditions:
        """What its measurement will hold for."""
        setup = self.setup
        return Conditions(
            fingerprint=self.fingerprint,
            input_shape=self.input_shape,
            workload=self.workload,
            engine=setup.engine,
            engine_version=version(setup.engine),
            layout=setup.layout,
            precision=setup.precision,
            threads=setup.thread_count,
            device=setup.device,
            machine=machine.fingerprint,
            options={**asked_for(setup, self.workload), **self.options},
        )

    def spec(self, folder: str, artifact: str | None) -> dict[str, Any]:
        """What a worker is told."""
        return {
            "target": self.target,
            "input_shape": self.input_shape,
            "setup": asdict(self.setup),
            "workload": self.workload,
            "folder": folder,
            "artifact": artifact,
        }


def cells(
    targets: Sequence[str],
    engines: Sequence[str] = ("eager",),
    precisions: Sequence[str] = ("fp32",),
    batches: Sequence[int] = (1,),
    layouts: Sequence[str] = ("contiguous",),
    threads: int | None = None,
    device: str = "cpu",
    image_size: int | None = None,
    workload: str = "stream",
    rate: float | None = None,
) -> list[Cell]:
    """Every combination, network by network; ``rate``: requests a second of a server.

    Raises:
        VertebraError: a name is unknown, or a number cannot be.
    """
    _check(targets, batches, workload, rate)
    found: list[Cell] = []
    for target in dict.fromkeys(targets):
        size, fingerprint = identity(target, image_size)
        catalogue = get(target).fingerprint if _is_listed(target) else None
        for batch, engine, precision, layout in itertools.product(
            batches, engines, precisions, layouts
        ):
            if layout != LAYOUTS[0] and engine not in TORCH_ENGINES:
                if len(layouts) == 1:
                    raise VertebraError(f"{engine} takes no layout; it is for eager and compile")
                continue
            setup = Setup(engine, precision, layout, threads, device, workload == "offline")
            own = {"rate": f"{rate:g}"} if rate else {}
            cell = Cell(target, fingerprint, (batch, *size), setup, workload, own, catalogue)
            if cell not in found:  # an engine may have been named twice
                found.append(cell)
    return found


def asked_for(setup: Setup, workload: str) -> dict[str, str]:
    """What a measurement would be made with now, by name in words; a server's rate comes to it."""
    asked = options(setup)
    if workload == "train":
        asked["optimizer"] = OPTIMIZER
    if keeps_freed_memory(setup):
        asked["freed_memory"] = "kept"
    return asked


def unsuited(cell: Cell) -> str | None:
    """Why an engine cannot have this workload; None where it can."""
    if cell.workload == "train" and cell.setup.engine not in _TRAINS:
        return f"{cell.setup.engine} does not train"
    if cell.workload == "train" and cell.setup.precision == "int8":
        return "training in int8 is not done here"
    return None


def identity(target: str, image_size: int | None = None) -> tuple[tuple[int, int, int], str]:
    """(channels, height, width) and fingerprint of a network; from the catalogue where it can be.

    Raises:
        VertebraError: no such network, or it does not say its input size.
    """
    if _is_listed(target):
        entry = get(target)
        if image_size in (None, entry.input_size[1]):
            return entry.input_size, entry.fingerprint
    from vertebra.anatomy import dissect
    from vertebra.zoo.subjects import size_of, subject

    net, _ = subject(target)
    own = size_of(net) or ((3, image_size, image_size) if image_size else None)
    if own is None:
        raise VertebraError(f"{target} does not say its input size; give --image-size")
    channels, height, width = own
    if image_size:
        height = width = image_size
        net, _ = subject(target, (channels, height, width))
    size = (channels, height, width)
    return size, dissect(net, size).fingerprint


def _is_listed(target: str) -> bool:
    from vertebra.zoo import list_models

    # In the order in which a target is opened: a run's folder may have a network's name.
    return target in list_models() and not Path(target).is_dir()


def _check(
    targets: Sequence[str],
    batches: Sequence[int],
    workload: str,
    rate: float | None,
) -> None:
    if not targets:
        raise VertebraError("name at least one network; vertebra models lists them")
    for batch in batches:
        if batch < 1:
            raise VertebraError(f"a batch has at least one image, got {batch}")
    if workload not in WORKLOADS:
        raise unknown("workload", workload, WORKLOADS)
    if (workload == "server") != (rate is not None):
        raise VertebraError("--rate says how many requests a second come to --workload server")
    if rate is not None and not 0 < rate < float("inf"):
        raise VertebraError(f"a rate is a number of requests a second above 0, got {rate:g}")
