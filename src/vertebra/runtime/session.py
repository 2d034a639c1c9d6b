"""What every engine with a network in it can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vertebra.core import VertebraError
from vertebra.runtime.setup import Setup, Shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Images = NDArray[np.float32]

# Below this share the precision that was asked for is not what ran.
_LEAST_SHARE = 0.5
ROUNDS = 10  # calls whose median is a layer's time


@dataclass(frozen=True)
class LayerTime:
    """One operation as the engine ran it.

    ``kind`` in the engine's own words; ``seconds`` are the median of several calls.
    """

    name: str
    kind: str
    seconds: float
    precision: str


class Session(Protocol):
    """One network inside one engine, for one shape of images and one call at a time.

    Attributes:
        setup: what was asked for.
        input_shape: (batch, channels, height, width).
        precision: that really runs.
        file_bytes: size of what was loaded: the model's files; of a network in PyTorch its weights
            and buffers in that precision.
        load_seconds: from the file, or the built network, to an engine that is ready; without
            importing the engine and without finding out the precision.
    """

    setup: Setup
    input_shape: Shape
    precision: str
    file_bytes: int
    load_seconds: float

    @property
    def share(self) -> float:
        """Of the convolutions and matrix products, how much runs in ``precision``, from 0 to 1.

        ONNX Runtime and OpenVINO weigh each by the numbers that it gives out, PyTorch's engines by
        its weights; NaN where the engine does not tell (TensorRT).

        Raises:
            VertebraError: most of it runs in another.
        """

    def prepare(self, images: Images) -> Any:
        """float32 (B, C, H, W) as the engine takes it.

        Raises:
            VertebraError: another shape or type.
        """

    def run(self, prepared: Any) -> Any:
        """One call; it returns when the result is there, which the next call may overwrite."""

    def run_all(self, prepared: Any, calls: int) -> None:
        """So many calls; it returns when all are answered. Several are under way at a time where
        the engine can and ``setup.overlap`` says so.
        """

    def numpy(self, output: Any) -> Images:
        """What :meth:`run` gave as float32 (B, classes), a copy."""

    def layers(self, prepared: Any, rounds: int = ROUNDS) -> list[LayerTime]:
        """The time of each operation by the engine's own profiler, in the order of their run.

        May load or compile the network a second time, with the profiler on.
        """

    def close(self) -> None:
        """Give back what the engine holds; nothing runs afterwards."""


def as_images(images: Images, shape: Shape) -> Images:
    """The same in one piece of memory, if they are what a session of that shape takes.

    Raises:
        VertebraError: another shape or type.
    """
    kind, found = getattr(images, "dtype", type(images).__name__), getattr(images, "shape", ())
    if str(kind) != "float32" or tuple(found) != shape:
        raise VertebraError(f"images are float32 of shape {shape}, got {kind} {tuple(found)}")
    import numpy as np

    return np.require(images, requirements=["C", "W"])


def said(error: BaseException) -> str:
    """The first line of an error of an engine's, in one sentence of ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def judged(work: Mapping[str, float], setup: Setup) -> float:
    """The share of ``work`` (by the precision that it ran in) that is as asked; 1 where is none.

    Raises:
        VertebraError: most of it ran in another precision.
    """
    total = sum(work.values())
    if not total:
        return 1.0
    share = work.get(setup.precision, 0.0) / total
    if share < _LEAST_SHARE:
        other = max(work, key=lambda precision: work[precision])
        raise VertebraError(
            f"{setup.engine} was asked for {setup.precision}, but ran {1 - share:.0%} of the "
            f"convolutions and matrix products otherwise, most in {other}"
        )
    return share
