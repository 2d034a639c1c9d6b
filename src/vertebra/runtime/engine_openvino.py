"""OpenVINO's CPU plugin as an engine; it loads no PyTorch."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.core import VertebraError
from vertebra.runtime.artifact import bytes_of
from vertebra.runtime.libraries import import_openvino
from vertebra.runtime.session import ROUNDS, LayerTime, as_images, judged, said
from vertebra.runtime.setup import Setup, Shape, checked_shape

if TYPE_CHECKING:
    from vertebra.runtime.session import Images

# Types in its own words.
_PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "u8": "int8", "i8": "int8"}
# What is not 8-bit in an int8 network stays in float32.
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
# Convolutions and matrix products among the operations that it runs.
_PRODUCTS = frozenset("Convolution Deconvolution FullyConnected MatMul".split())


class OpenVinoSession:
    """An ONNX file or OpenVINO's own in its CPU plugin."""

    def __init__(self, file: Path, setup: Setup, input_shape: Shape | None = None) -> None:
        self.setup = setup
        self._file = file
        self._library = import_openvino()
        started = time.perf_counter()
        self._network = self._compiled()
        self._request = self._network.create_infer_request()
        self._given: Any = None
        self._queue: Any = None
        self.load_seconds = time.perf_counter() - started
        self.input_shape = _input_of(self._network)
        if input_shape is not None and input_shape != self.input_shape:
            raise VertebraError(f"{file} takes images of {self.input_shape}, not {input_shape}")
        self._check_threads()
        self.share = judged(_work(self._network), setup)
        self.precision = setup.precision
        self.file_bytes = bytes_of(file)

    def prepare(self, images: Images) -> Any:
        """See :class:`Session`."""
        return self._library.Tensor(as_images(images, self.input_shape))

    def run(self, prepared: Any) -> Any:
        """See :class:`Session`."""
        if prepared is not self._given:  # with cold caches each call into it takes 20 us and more
            self._request.set_input_tensor(prepared)
            self._given = prepared
        self._request.infer(share_outputs=True)
        return self._request.get_output_tensor()

    def run_all(self, prepared: Any, calls: int) -> None:
        """See :class:`Session`: as many at a time as it has requests for."""
        if self._queue is None:
            self._queue = self._library.AsyncInferQueue(self._network)
        for _ in range(calls):
            self._queue.start_async(prepared, share_inputs=True)
        self._queue.wait_all()

    def numpy(self, output: Any) -> Images:
        """See :class:`Session`."""
        return np.array(output.data, dtype=np.float32)

    def layers(self, prepared: Any, rounds: int = ROUNDS) -> list[LayerTime]:
        """See :class:`Session`: of the network compiled a second time, with counters."""
        network = self._compiled(counting=True)
        request = network.create_infer_request()
        request.set_input_tensor(prepared)
        request.infer()
        runs = []
        for _ in range(rounds):
            request.infer()
            runs.append([node for node in request.profiling_info if node.real_time])
        ran = {node.get_friendly_name(): _precision(node) for node in _operations(network)}
        return _layers(runs, ran)

    def close(self) -> None:
        """See :class:`Session`."""
        del self._request, self._network, self._given, self._queue

    def _compiled(self, *, counting: bool = False) -> Any:
        one_at_a_time = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
        settings = {
            **({"PERFORMANCE_HINT": "THROUGHPUT"} if self.setup.overlap else one_at_a_time),
            "INFERENCE_NUM_THREADS": str(self.setup.thread_count),
            "INFERENCE_PRECISION_HINT": HINTS[self.setup.precision],
            "ENABLE_CPU_PINNING": "NO",
            "ENABLE_HYPER_THREADING": "YES",
            "SCHEDULING_CORE_TYPE": "ANY_CORE",
            "PERF_COUNT": "YES" if counting else "NO",
        }
        try:
            return self._library.Core().compile_model(self._file, "CPU", settings)
        except RuntimeError as error:
            raise VertebraError(f"OpenVINO cannot load {self._file}: {said(error)}") from error

    def _check_threads(self) -> None:
        """It takes no more threads than there are cores, and says nothing."""
        used, asked = self._network.get_property("INFERENCE_NUM_THREADS"), self.setup.thread_count
        if used != asked:
            raise VertebraError(f"OpenVINO runs on {used} threads here, not on {asked} as asked")


def _input_of(network: Any) -> Shape:
    """Shape of the one input.

    Raises:
        VertebraError: several inputs or outputs, or free sizes.
    """
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        text = f"{len(network.inputs)} inputs and {len(network.outputs)} outputs"
        raise VertebraError(f"a file has one input and one output, this one has {text}")
    extents = network.input(0).partial_shape
    return checked_shape([e.get_length() if e.is_static else 0 for e in extents])


def _operations(network: Any) -> list[Any]:
    """What it runs, in order, as its execution graph shows it."""
    return list(network.get_runtime_model().get_ordered_ops())


def _work(network: Any) -> Counter[str]:
    """Numbers that products gave out, by the precision that they ran in.

    Products inside attention that it has fused into one operation ("Subgraph") are not seen.
    """
    work: Counter[str] = Counter()
    for node in _operations(network):
        if _fact(node, "layerType") in _PRODUCTS:
            work[_precision(node)] += math.prod(node.output(0).shape)
    return work


def _precision(node: Any) -> str:
    found = _fact(node, "runtimePrecision")
    return _PRECISIONS.get(found, found)


def _fact(node: Any, name: str) -> str:
    return str(node.get_rt_info()[name].astype(str))


def _layers(runs: list[list[Any]], precisions: dict[str, str]) -> list[LayerTime]:
    """One entry an operation that took time in any run."""
    seconds: dict[str, list[float]] = {}
    kinds: dict[str, str] = {}
    for run in runs:
        for node in run:
            kinds[node.node_name] = node.node_type
            seconds.setdefault(node.node_name, []).append(node.real_time.total_seconds())
    return [
        LayerTime(name, kind, statistics.median(seconds[name]), precisions.get(name, ""))
        for name, kind in kinds.items()
    ]
