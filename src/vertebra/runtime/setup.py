"""What is asked for: an engine, and how it shall run a network."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vertebra.core import VertebraError, unknown
from vertebra.machine import usable_cores

# PyTorch runs these itself: they are given a network. The others are given a file.
TORCH_ENGINES = ("eager", "compile", "cudagraphs")
ENGINES = (*TORCH_ENGINES, "onnxruntime", "openvino", "tensorrt")
PRECISIONS = ("fp32", "bf16", "fp16", "int8")
LAYOUTS = ("contiguous", "channels_last")

Shape = tuple[int, ...]  # (batch, channels, height, width)


@dataclass(frozen=True)
class Setup:
    """One cell of a table of engines: which one, and how.

    Attributes:
        engine: one of :data:`ENGINES`; "cudagraphs" and "tensorrt" want a GPU.
        precision: of convolutions and matrix products, one of :data:`PRECISIONS`.
        layout: of images and weights, one of :data:`LAYOUTS`; engines that read a file choose
            their own.
        threads: that one call may use on the CPU; None for all cores that this process may use.
        device: "cpu", "cuda" or "cuda:1".
        overlap: whether several calls may be under way at a time, so that the most images a second
            are answered and not each one soonest; of OpenVINO, the others take one at a time.

    Raises:
        VertebraError: an unknown name, fewer than one thread, or a layout that the engine has not.
    """

    engine: str
    precision: str = "fp32"
    layout: str = "contiguous"
    threads: int | None = None
    device: str = "cpu"
    overlap: bool = False

    def __post_init__(self) -> None:
        for kind, word, known in (
            ("engine", self.engine, ENGINES),
            ("precision", self.precision, PRECISIONS),
            ("layout", self.layout, LAYOUTS),
        ):
            if word not in known:
                raise unknown(kind, word, known)
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise unknown("device", self.device, ("cpu", "cuda", "cuda:1"))
        whole = isinstance(self.threads, int | None) and not isinstance(self.threads, bool)
        if not whole or (self.threads is not None and self.threads < 1):
            raise VertebraError(f"threads is a whole number of at least 1, got {self.threads!r}")
        if self.layout == "channels_last" and not self.runs_in_torch:
            raise VertebraError(f"{self.engine} chooses its layout itself; leave layout=contiguous")

    @property
    def runs_in_torch(self) -> bool:
        """Whether PyTorch runs the network itself."""
        return self.engine in TORCH_ENGINES

    @property
    def on_gpu(self) -> bool:
        """Whether it is a GPU that runs it."""
        return self.device != "cpu"

    @property
    def thread_count(self) -> int:
        """``threads``, or the cores that this process may use."""
        return self.threads or usable_cores()


def checked_shape(shape: object) -> Shape:
    """(batch, channels, height, width) as whole numbers.

    Raises:
        VertebraError: it is something else.
    """
    extents = tuple(shape) if isinstance(shape, tuple | list) else ()
    if len(extents) != 4 or not all(type(extent) is int and extent > 0 for extent in extents):
        text = (
            f"input_shape is (batch, channels, height, width), like (1, 3, 224, 224); got {shape!r}"
        )
        raise VertebraError(text)
    return extents
