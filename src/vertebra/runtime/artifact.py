"""What an engine loads: a folder that is written once and read where there is no PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vertebra.core import VertebraError, write_json
from vertebra.runtime.setup import Setup, Shape, checked_shape

SCHEMA = "vertebra.engine/1"
_RECORD = "engine.json"


@dataclass(frozen=True)
class Artifact:
    """A network in an engine's own files.

    Attributes:
        folder: where they lie.
        file: name of the one that the engine is given.
        engine: that they are made for.
        precision: of the numbers in them, "fp32" or "int8"; bf16 is made of fp32 while loading.
        input_shape: (batch, channels, height, width), fixed.
        exporter: of PyTorch's two, which wrote the ONNX file: "torchscript" or "dynamo".
        calibration: what int8's ranges were found on: "none", "given" images or "random" ones,
            with which a network costs what it costs, and its answers promise nothing.
        calibration_images: how many.
        versions: of the packages that made it, by name.
    """

    folder: Path
    file: str
    engine: str
    precision: str
    input_shape: Shape
    exporter: str
    calibration: str = "none"
    calibration_images: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file that the engine is given."""
        return self.folder / self.file

    @property
    def cost_only(self) -> bool:
        """Whether it tells what a network costs, and its answers are not to be relied on."""
        return self.calibration == "random"

    def write(self) -> None:
        """Write the record beside the files; until then the folder is no artifact."""
        plain = {name: value for name, value in asdict(self).items() if name != "folder"}
        write_json(self.folder / _RECORD, {"schema": SCHEMA, **plain})

    @classmethod
    def open(cls, folder: Path) -> Artifact:
        """Read one.

        Raises:
            VertebraError: the folder holds none, or not one that this version reads.
        """
        try:
            plain = json.loads((folder / _RECORD).read_text())
        except OSError as error:
            raise VertebraError(f"{folder} holds no network for an engine ({_RECORD})") from error
        if plain.pop("schema", None) != SCHEMA:
            raise VertebraError(f"{folder / _RECORD} is not of {SCHEMA}")
        shape = checked_shape(plain.pop("input_shape"))
        return cls(folder=folder, input_shape=shape, **plain)

    def check(self, setup: Setup, input_shape: Shape | None) -> None:
        """Refuse another engine, precision or shape than it was made for.

        Raises:
            VertebraError: one of them differs.
        """
        precision = precision_on_disk(setup)
        for what, made, asked in (
            ("engine", _reader(self.engine), _reader(setup.engine)),
            ("precision", self.precision, precision),
            ("input_shape", self.input_shape, input_shape or self.input_shape),
        ):
            if made != asked:
                raise VertebraError(f"{self.folder} was made for {what} {made}, asked is {asked}")


def precision_on_disk(setup: Setup) -> str:
    """Of the numbers in the file for a setup: engines make bf16 and fp16 of fp32 themselves."""
    return "int8" if setup.precision == "int8" else "fp32"


def _reader(engine: str) -> str:
    """TensorRT reads the files of ONNX Runtime, which drives it."""
    return "onnxruntime" if engine == "tensorrt" else engine


def bytes_of(path: Path) -> int:
    """Size of a model: its file, and the one beside it that holds its weights, if there is one."""
    weights = (path.with_suffix(".bin"), external_weights(path))
    return sum(file.stat().st_size for file in (path, *weights) if file.is_file())


def external_weights(path: Path) -> Path:
    """Where the weights of an ONNX file lie that are too many for one file (2 GB)."""
    return path.with_name(path.name + ".data")
