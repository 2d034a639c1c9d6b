"""A network as an ONNX file, which ONNX Runtime and OpenVINO both read."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra.core import VertebraError, rng
from vertebra.machine import usable_cores
from vertebra.runtime.artifact import external_weights
from vertebra.runtime.libraries import import_onnxruntime, import_openvino
from vertebra.runtime.quiet import stdout_shut
from vertebra.runtime.session import said
from vertebra.runtime.setup import Shape, checked_shape

if TYPE_CHECKING:
    from torch import nn

    from vertebra.runtime.session import Images

OPSET = 18
INPUT, OUTPUT = "images", "logits"
# Of the largest output. Rounding makes 1e-6; a map of another size in MobileViT makes 1e-2.
TOLERANCE = 1e-3
_LARGEST_FILE = 2**31 - 2**20  # a protobuf message holds less than 2 GiB


@dataclass(frozen=True)
class Exported:
    """An ONNX file of a network: one input, one output, no free size.

    ``exporter`` is "torchscript" or "dynamo", PyTorch's older and newer one.
    """

    path: Path
    input_shape: Shape
    exporter: str


def export_onnx(net: nn.Module, input_shape: Shape, path: Path) -> Exported:
    """Write a network in float32 and evaluation mode, which it need not be in, to ``path``.

    Batch norm is folded into the convolution before it. The weights of a network of 2 GB and more
    lie beside the file (:func:`external_weights`). The file is run once on random images, and has
    to give what the network gives.

    PyTorch's exporter by tracing comes first: it takes about a second where the other takes two to
    seven, and that one fails on Swin (PyTorch 2.15). Where it fails, is gone or computes something
    else, the other one does it.

    Raises:
        VertebraError: neither can, or the network gives no single tensor of logits.
    """
    from vertebra.runtime.twin import twin

    shape = checked_shape(input_shape)
    copied, failed = twin(net, shape), []
    images = rng(0, "export").standard_normal(shape, dtype="float32")
    expected = _answer(copied, images)
    for exporter, export in (("torchscript", by_tracing), ("dynamo", by_dynamo)):
        try:
            with stdout_shut(), warnings.catch_warnings():
                export(copied, shape, path)
            _check(path, images, expected)
        except Exception as error:  # whatever an exporter raises
            failed.append(f"{exporter}: {said(error)}")
        else:
            return Exported(path, shape, exporter)
    raise VertebraError(f"{type(net).__name__} cannot be exported to ONNX ({'; '.join(failed)})")


def by_tracing(net: nn.Module, shape: Shape, path: Path) -> None:
    """By PyTorch's older exporter, which traces one forward."""
    import torch
    from torch.jit._trace import TracerWarning

    from vertebra.runtime.fixed_sizes import FixedSizes

    # That it is old; that sizes become numbers, as they shall; that it leaves some constants alone.
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", TracerWarning)
    warnings.filterwarnings("ignore", "Constant folding", UserWarning)
    with torch.no_grad(), FixedSizes():
        torch.onnx.export(net, (torch.zeros(shape),), str(path), dynamo=False, **_named())
    if _is_large(net):
        _gather_weights(path)


def by_dynamo(net: nn.Module, shape: Shape, path: Path) -> None:
    """By PyTorch's newer exporter, which goes through ``torch.export``."""
    import torch

    large = _is_large(net)
    with torch.no_grad():
        torch.onnx.export(
            net,
            (torch.zeros(shape),),
            str(path),
            dynamo=True,
            external_data=large,
            verbose=False,
            **_named(),
        )


def _named() -> dict[str, Any]:
    return {"opset_version": OPSET, "input_names": [INPUT], "output_names": [OUTPUT]}


def _is_large(net: nn.Module) -> bool:
    sizes: list[int] = [tensor.nbytes for tensor in net.state_dict().values()]
    return sum(sizes) > _LARGEST_FILE


def _gather_weights(path: Path) -> None:
    """One file of weights instead of one a tensor."""
    import onnx

    model = onnx.load(path)
    parts = {
        path.parent / entry.value
        for tensor in onnx.load(path, load_external_data=False).graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for part in parts:
        part.unlink()
    weights = external_weights(path)
    weights.unlink(missing_ok=True)  # ONNX appends
    onnx.save(model, path, save_as_external_data=True, location=weights.name)


def _answer(net: nn.Module, images: Images) -> Images:
    """What PyTorch makes of the images.

    Raises:
        VertebraError: it cannot run on them, or gives no tensor, or numbers that nothing can be
            compared with.
    """
    import torch

    from vertebra.anatomy.inputs import explained

    with torch.inference_mode(), explained(net, [(images.shape, torch.float32)]):
        answer = net(torch.from_numpy(images))
    if not isinstance(answer, torch.Tensor):
        kind = type(answer).__name__
        raise VertebraError(f"an engine runs a network that gives one tensor; this gives a {kind}")
    if not answer.isfinite().all():
        raise VertebraError("the network gives numbers that are not finite on random images")
    logits: Images = answer.numpy()
    return logits


def _check(path: Path, images: Images, expected: Images) -> None:
    import numpy as np
    import onnx

    onnx.checker.check_model(str(path))
    found = _run_once(path, images)
    if found.shape != expected.shape:
        raise VertebraError(f"gives {found.shape} where PyTorch gives {expected.shape}")
    difference = np.abs(found - expected).max() / max(np.abs(expected).max(), np.finfo("f").tiny)
    if not difference <= TOLERANCE:
        raise VertebraError(
            f"computes something else: off by {difference:.0e} of the largest output"
        )


def _run_once(path: Path, images: Images) -> Images:
    """What an engine makes of the file, whichever is installed; in float32."""
    if find_spec("onnxruntime") is not None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cores()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (logits,) = session.run(None, {INPUT: images})
    else:
        precise = {"INFERENCE_PRECISION_HINT": "f32"}
        network = import_openvino().Core().compile_model(path, "CPU", precise)
        (logits,) = network([images]).values()
    found: Images = logits
    return found
