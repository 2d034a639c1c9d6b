"""What a worker times: a forward pass in an engine, or a step of training."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vertebra.core import VertebraError
from vertebra.machine import can_keep_freed_memory
from vertebra.runtime import Session, Setup, import_engine, load
from vertebra.runtime.setup import Shape, checked_shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Beside an artifact: the images that everything is timed on, and what PyTorch answers in float32.
IMAGES, LOGITS = "images.npy", "logits.npy"
# Of training: AdamW keeps two numbers a parameter, as most recipes for these networks do.
OPTIMIZER = "adamw"


# How far from PyTorch in fp32 an output may be, as a share of the largest. Measured of 44 networks:
# at most 2e-6 in fp32 and 0.03 in bf16. int8 on random images has nothing to keep to.
_MOST_OFF = {"fp32": 1e-3, "bf16": 0.1, "fp16": 0.1}


def keeps_freed_memory(setup: Setup) -> bool:
    """Whether the process that measures keeps what it frees: of PyTorch, which allocates every map
    anew, on a CPU. glibc would give large blocks back, or not, as its heap happens to lie; other
    libraries cannot be told.
    """
    return setup.runs_in_torch and not setup.on_gpu and can_keep_freed_memory()


class Subject(Protocol):
    """Something that can be called again and again."""

    file_bytes: int
    load_seconds: float

    def call(self) -> object:
        """Once, until the result is there."""

    def call_all(self, calls: int) -> None:
        """So often, until all results are there."""

    def parity(self) -> float | None:
        """The largest difference from PyTorch in float32 over its largest output."""

    def layers(self) -> list[Mapping[str, Any]]:
        """Name, kind and seconds of each layer."""

    def share(self) -> float | None:
        """How much of the products ran in the precision that was asked for; None: not told.

        May load the network a second time.
        """


class Opener(Protocol):
    """How to come to a subject."""

    def import_engine(self) -> None:
        """Load the libraries, which is no part of loading the network."""

    def load(self) -> Subject:
        """The subject, ready to be called."""


def opener(spec: Mapping[str, Any]) -> Opener:
    """The way to the subject of a spec, as :meth:`.plan.Cell.spec` writes it."""
    setup = Setup(**spec["setup"])
    shape = checked_shape(spec["input_shape"])
    if spec["workload"] == "train":
        from vertebra.bench.training import TrainingOpener

        return TrainingOpener(spec["target"], shape, setup)
    artifact = spec.get("artifact")
    return ForwardOpener(
        spec["target"], shape, setup, Path(spec["folder"]), Path(artifact) if artifact else None
    )


@dataclass
class Forward:
    """A forward pass of a batch."""

    session: Session
    images: NDArray[np.float32]
    logits: NDArray[np.float32]

    def __post_init__(self) -> None:
        self._prepared = self.session.prepare(self.images)
        self.file_bytes = self.session.file_bytes
        self.load_seconds = self.session.load_seconds

    def call(self) -> object:
        """One forward pass."""
        return self.session.run(self._prepared)

    def call_all(self, calls: int) -> None:
        """See :class:`Subject`."""
        self.session.run_all(self._prepared, calls)

    def parity(self) -> float:
        """See :class:`Subject`."""
        import numpy as np

        found = self.session.numpy(self.call())
        if found.shape != self.logits.shape:
            raise VertebraError(f"gives {found.shape} where PyTorch gives {self.logits.shape}")
        if not np.isfinite(found).all():
            raise VertebraError("gives numbers that are not finite")
        largest = float(np.abs(self.logits).max())
        if not largest:
            raise VertebraError("PyTorch gives zeros alone, so nothing tells what the engine gives")
        off = float(np.abs(found - self.logits).max()) / largest
        precision = self.session.precision
        if off > _MOST_OFF.get(precision, math.inf):
            raise VertebraError(f"computes something else: {off:.2g} of the largest output away")
        return off

    def share(self) -> float | None:
        """See :class:`Subject`."""
        found = self.session.share
        return None if math.isnan(found) else found

    def layers(self) -> list[Mapping[str, Any]]:
        """See :class:`Subject`."""
        return [vars(layer) for layer in self.session.layers(self._prepared)]


@dataclass
class ForwardOpener:
    """Loads what was made for an engine, or builds the network where the engine is PyTorch."""

    target: str
    shape: Shape
    setup: Setup
    folder: Path
    artifact: Path | None

    def import_engine(self) -> None:
        """See :class:`Opener`."""
        import_engine(self.setup)
        importlib.import_module("numpy")
        if self.artifact is None:
            importlib.import_module("vertebra.bench.network")

    def load(self) -> Forward:
        """See :class:`Opener`."""
        import numpy as np

        images, logits = np.load(self.folder / IMAGES), np.load(self.folder / LOGITS)
        what: Any = self.artifact
        if what is None:
            from vertebra.bench.network import network

            what = network(self.target, self.shape)
        # The precision is found out last: it may take loading a second time.
        return Forward(load(what, self.setup, self.shape, check=False), images, logits)
