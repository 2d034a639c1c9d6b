"""From a network to the files that an engine loads."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vertebra.core import VertebraError
from vertebra.runtime.artifact import Artifact, external_weights, precision_on_disk
from vertebra.runtime.availability import installed_version, require
from vertebra.runtime.export import Exported, export_onnx
from vertebra.runtime.quantise import (
    quantise_onnx,
    quantise_openvino,
    random_images,
    to_openvino,
)
from vertebra.runtime.setup import Setup, Shape, checked_shape

if TYPE_CHECKING:
    from torch import nn

    from vertebra.runtime.session import Images

_MAKERS = ("torch", "onnx", "onnxruntime", "openvino", "nncf")


def make(
    what: nn.Module | Exported,
    input_shape: Shape,
    setup: Setup,
    folder: Path,
    calibration: Images | None = None,
) -> Artifact:
    """Write what the setup's engine loads into ``folder``; the network is left as it was.

    Args:
        what: a network, or one that was exported already, for several engines.
        input_shape: (batch, channels, height, width), which are fixed in the file.
        setup: of an engine that reads files. Eager PyTorch and what compiles it take the network.
        folder: made where there is none.
        calibration: images for int8, float32 (N, C, H, W) as the network takes them; random ones if
            None, and the artifact says so (``cost_only``). Other precisions need none.

    Raises:
        VertebraError: the cell cannot run here, the engine reads no files, the network cannot be
            exported, or images or shape that do not fit.
    """
    require(setup)
    if setup.runs_in_torch:
        raise VertebraError(f"{setup.engine} runs the network itself: there is no file to make")
    shape = checked_shape(input_shape)
    if isinstance(what, Exported) and what.input_shape != shape:
        raise VertebraError(f"{what.path} takes images of {what.input_shape}, not {shape}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        exported = (
            what
            if isinstance(what, Exported)
            else export_onnx(what, shape, Path(temporary) / "model.onnx")
        )
        file = _write(exported.path, setup, folder, calibration)
    used, count = _calibrated_on(setup, calibration, shape)
    artifact = Artifact(
        folder=folder,
        file=file,
        engine=setup.engine,
        precision=precision_on_disk(setup),
        input_shape=shape,
        exporter=exported.exporter,
        calibration=used,
        calibration_images=count,
        versions={name: text for name in _MAKERS if (text := installed_version(name))},
    )
    artifact.write()
    return artifact


def _write(source: Path, setup: Setup, folder: Path, calibration: Images | None) -> str:
    """Write the engine's files; returns the name of the one that it is given."""
    int8 = setup.precision == "int8"
    if setup.engine == "openvino":
        target = folder / "model.xml"
        if int8:
            quantise_openvino(source, target, calibration)
        else:
            to_openvino(source, target)
        return target.name
    target = folder / "model.onnx"
    if int8:
        quantise_onnx(source, target, calibration)
    else:
        _copy(source, target)
    return target.name


def _copy(source: Path, target: Path) -> None:
    # The file names its weights by its own name at the time of export.
    import onnx

    if not external_weights(source).is_file():
        shutil.copyfile(source, target)
        return
    weights = external_weights(target)
    weights.unlink(missing_ok=True)
    onnx.save(onnx.load(source), target, save_as_external_data=True, location=weights.name)


def _calibrated_on(setup: Setup, images: Images | None, shape: Shape) -> tuple[str, int]:
    """Which images the ranges of int8 come from, and how many."""
    if setup.precision != "int8":
        return "none", 0
    return ("random", random_images(shape)) if images is None else ("given", len(images))
