"""A network in 8-bit integers: post-training quantisation by each engine's own tool."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra.core import VertebraError, rng
from vertebra.runtime.artifact import external_weights
from vertebra.runtime.availability import has_int8_dot_product
from vertebra.runtime.libraries import import_nncf, import_onnxruntime, import_openvino
from vertebra.runtime.quiet import stdout_shut
from vertebra.runtime.setup import Shape

if TYPE_CHECKING:
    from vertebra.runtime.session import Images

_PRODUCTS = ["Conv", "Gemm", "MatMul"]
_FEW = 8  # random images are enough to find what a network costs


def quantise_onnx(source: Path, target: Path, images: Images | None = None) -> None:
    """Write the ONNX file in QDQ form for ONNX Runtime: weights by channel, activations by tensor.

    Ranges are the smallest and largest values on ``images``, float32 (N, C, H, W) as the network
    takes them; on random ones if None, and then the answers promise nothing. Where there is
    attention (a softmax inside) only convolutions and matrix products are in 8 bits: what masks
    Swin's windows has a range that leaves no bits for the rest (off by 1.06 of the largest logit,
    else by 0.04).

    Raises:
        VertebraError: images of another size.
    """
    import_onnxruntime()
    import onnx
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    graph = onnx.load(source, load_external_data=False).graph
    name, shape = _input_of(graph)
    attends = any(node.op_type == "Softmax" for node in graph.node)
    large = external_weights(source).is_file()
    with tempfile.TemporaryDirectory() as folder:
        folded = Path(folder) / source.name
        quant_pre_process(source, folded, skip_symbolic_shape=True, save_as_external_data=large)
        quantize_static(
            folded,
            target,
            _Reader(name, calibration_batches(images, shape)),
            op_types_to_quantize=_PRODUCTS if attends else None,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=not has_int8_dot_product(),
            use_external_data_format=large,
        )


def to_openvino(source: Path, target: Path) -> None:
    """Write an ONNX file as OpenVINO's own: ``target`` (.xml) and its weights (.bin) in float32."""
    openvino = import_openvino()
    model = openvino.convert_model(source)
    openvino.save_model(model, target, compress_to_fp16=False)  # the default halves the weights


def quantise_openvino(source: Path, target: Path, images: Images | None = None) -> None:
    """Write an ONNX file in 8 bits for OpenVINO (.xml and .bin), by NNCF.

    Weights are symmetric, activations are not; networks with attention (a softmax inside) are
    treated as NNCF's transformers, whose error on ViT-Ti is 0.03 and not 0.07 of the largest logit.
    ``images`` as in :func:`quantise_onnx`.

    Raises:
        VertebraError: images of another size.
    """
    openvino, nncf = import_openvino(), import_nncf()
    # Not read_model, which fuses nothing: NNCF then leaves depthwise convolutions in float32, and
    # EfficientNet-B0 takes 7.7 ms instead of 4.1.
    model = openvino.convert_model(source)
    batches = calibration_batches(images, tuple(model.input(0).shape))
    attends = any(node.get_type_name() == "Softmax" for node in model.get_ops())
    with stdout_shut():  # progress bars
        quantised = nncf.quantize(
            model,
            nncf.Dataset(batches),
            subset_size=len(batches),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER if attends else None,
        )
    openvino.save_model(quantised, target, compress_to_fp16=False)


def calibration_batches(images: Images | None, shape: Shape) -> list[Images]:
    """Batches of exactly ``shape``; the last one is filled up from the start.

    Random images where there are none: normalised ones have about mean 0 and deviation 1.

    Raises:
        VertebraError: images of another size, or none.
    """
    import numpy as np

    if images is None:
        count = random_images(shape)
        images = rng(0, "calibration").standard_normal((count, *shape[1:]), dtype=np.float32)
    if images.ndim != 4 or images.shape[1:] != shape[1:] or not len(images):
        wanted = f"(N, {', '.join(map(str, shape[1:]))})"
        raise VertebraError(f"calibration takes images of shape {wanted}, got {images.shape}")
    batches = math.ceil(len(images) / shape[0])
    places = np.arange(batches * shape[0]) % len(images)
    filled = np.ascontiguousarray(images[places], dtype=np.float32)
    return list(filled.reshape(batches, *shape))


def random_images(shape: Shape) -> int:
    """How many random images stand in for real ones: eight, or a batch."""
    return max(_FEW, shape[0])


class _Reader:
    """What ONNX Runtime takes calibration images from (its ``CalibrationDataReader``)."""

    def __init__(self, name: str, batches: list[Images]) -> None:
        self._feeds: Iterator[dict[str, Any]] = iter([{name: batch} for batch in batches])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def _input_of(graph: Any) -> tuple[str, Shape]:
    """Name and shape of an ONNX graph's input."""
    (given,) = graph.input
    batch, channels, height, width = (d.dim_value for d in given.type.tensor_type.shape.dim)
    return given.name, (batch, channels, height, width)
