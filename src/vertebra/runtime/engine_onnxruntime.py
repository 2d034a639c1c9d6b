"""ONNX Runtime as an engine; it loads no PyTorch."""

from __future__ import annotations

import functools
import json
import math
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.core import VertebraError
from vertebra.runtime.artifact import bytes_of
from vertebra.runtime.libraries import import_onnxruntime
from vertebra.runtime.session import ROUNDS, LayerTime, as_images, judged, said
from vertebra.runtime.setup import Setup, Shape, checked_shape

if TYPE_CHECKING:
    from vertebra.runtime.session import Images

# Types in its own words.
_PRECISIONS = {
    "float": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "uint8": "int8",
    "int8": "int8",
}
# Convolutions and matrix products among the operations that its optimiser leaves.
_PRODUCTS = frozenset(
    "Conv ConvInteger ConvTranspose FusedConv NhwcFusedConv QLinearConv Gemm FusedGemm QGemm "
    "MatMul FusedMatMul QLinearMatMul MatMulInteger MatMulIntegerToFloat Attention QAttention "
    "MultiHeadAttention".split()
)
# What its profiler adds to the name of a node, and to one that it moved or fused.
_ADDED = re.compile(r"(_token_\d+)?(_nchwc)?_kernel_time$")


class OnnxRuntimeSession:
    """An ONNX file in ONNX Runtime, on the CPU or by TensorRT."""

    def __init__(self, file: Path, setup: Setup, input_shape: Shape | None = None) -> None:
        self.setup = setup
        self._file = file
        self._library = import_onnxruntime()
        started = time.perf_counter()
        self._session = self._loaded()
        self.load_seconds = time.perf_counter() - started
        self._name, self.input_shape = _input_of(self._session)
        if input_shape is not None and input_shape != self.input_shape:
            raise VertebraError(f"{file} takes images of {self.input_shape}, not {input_shape}")
        self.precision = setup.precision
        self.file_bytes = bytes_of(file)

    @functools.cached_property
    def share(self) -> float:
        """See :class:`Session`: seen by loading the file a second time and running it on zeros."""
        if self.setup.engine == "tensorrt":
            return math.nan  # which shows itself as one operation
        return judged(_work(self._profiled(None, rounds=1)), self.setup)

    def prepare(self, images: Images) -> Any:
        """See :class:`Session`."""
        given = as_images(images, self.input_shape)
        return self._library.OrtValue.ortvalue_from_numpy(given, *self._place())

    def run(self, prepared: Any) -> Any:
        """See :class:`Session`."""
        return self._session.run_with_ort_values(None, {self._name: prepared})

    def run_all(self, prepared: Any, calls: int) -> None:
        """See :class:`Session`: one after the other."""
        for _ in range(calls):
            self.run(prepared)

    def numpy(self, output: Any) -> Images:
        """See :class:`Session`."""
        return np.array(output[0].numpy(), dtype=np.float32)

    def layers(self, prepared: Any, rounds: int = ROUNDS) -> list[LayerTime]:
        """See :class:`Session`: of a second session, whose profiler is on."""
        events = self._profiled(prepared, rounds)
        return [_layer([run[place] for run in events]) for place in range(len(events[0]))]

    def close(self) -> None:
        """See :class:`Session`."""
        del self._session

    def _place(self) -> tuple[str, int]:
        """Where images lie, in its words."""
        kind, _, index = self.setup.device.partition(":")
        return kind, int(index or 0)

    def _loaded(self, profile: Path | None = None) -> Any:
        library = self._library
        options = library.SessionOptions()
        options.intra_op_num_threads = self.setup.thread_count
        options.inter_op_num_threads = 1
        options.execution_mode = library.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_ALL
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        try:
            return library.InferenceSession(
                self._file, options, providers=self._providers(), enable_fallback=0
            )
        except Exception as error:  # its errors have no class of their own in common
            raise VertebraError(f"ONNX Runtime cannot load {self._file}: {said(error)}") from error

    def _providers(self) -> list[Any]:
        if self.setup.engine == "onnxruntime":
            return ["CPUExecutionProvider"]
        half = self.setup.precision == "fp16"
        given = {"device_id": self._place()[1], "trt_fp16_enable": half}
        return [("TensorrtExecutionProvider", given), "CPUExecutionProvider"]

    def _profiled(self, prepared: Any, rounds: int) -> list[list[Any]]:
        """The operations of each of ``rounds`` runs, as its profiler saw them; zeros if None."""
        with tempfile.TemporaryDirectory() as folder:
            session = self._loaded(Path(folder) / "profile")
            name, shape = _input_of(session)
            if prepared is None:
                zeros = np.zeros(shape, dtype=np.float32)
                prepared = self._library.OrtValue.ortvalue_from_numpy(zeros, *self._place())
            for _ in range(rounds + 1):  # the first one takes memory, and is left out
                session.run_with_ort_values(None, {name: prepared})
            events = json.loads(Path(session.end_profiling()).read_text())
        return list(_runs(events))[-rounds:]


def _input_of(session: Any) -> tuple[str, Shape]:
    """Name and shape of the one input.

    Raises:
        VertebraError: several inputs or outputs, or free sizes.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        text = f"{len(inputs)} inputs and {len(outputs)} outputs"
        raise VertebraError(f"a file has one input and one output, this one has {text}")
    return inputs[0].name, checked_shape(inputs[0].shape)


def _runs(events: list[Any]) -> Iterator[list[Any]]:
    """Its events, run by run: a run's operations come before the event of the run itself."""
    operations: list[Any] = []
    for event in sorted(events, key=lambda event: event.get("ts", 0) + event.get("dur", 0)):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            operations.append(event)
        elif event.get("name") == "model_run":
            yield operations
            operations = []


def _work(runs: list[list[Any]]) -> Counter[str]:
    """Numbers that products gave out, by the precision of what they multiplied."""
    work: Counter[str] = Counter()
    for event in runs[0]:
        if event["args"]["op_name"] in _PRODUCTS:
            (given,) = event["args"]["output_type_shape"][0].values()
            work[_precision(event)] += math.prod(given)
    return work


def _precision(event: Any) -> str:
    """Of an operation's first input; "" where it has none."""
    given = event["args"]["input_type_shape"]
    kinds = list(given[0]) if given else [""]
    return _PRECISIONS.get(kinds[0], kinds[0])


def _layer(same: list[Any]) -> LayerTime:
    """One operation from what was seen of it in several runs."""
    return LayerTime(
        name=_ADDED.sub("", same[0]["name"]),
        kind=same[0]["args"]["op_name"],
        seconds=statistics.median(event["dur"] for event in same) / 1e6,
        precision=_precision(same[0]),
    )
