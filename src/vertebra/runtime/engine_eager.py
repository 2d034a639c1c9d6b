"""PyTorch as an engine: eager, and what eager, compiled and captured networks share."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vertebra.core import VertebraError, place_of
from vertebra.runtime.session import ROUNDS, LayerTime, as_images, judged, said
from vertebra.runtime.setup import Setup, Shape
from vertebra.runtime.torch_layers import layers_by_module
from vertebra.runtime.twin import DTYPES, as_asked, twin

if TYPE_CHECKING:
    from vertebra.runtime.session import Images

Call = Callable[[Tensor], Any]


class EagerSession:
    """A network in PyTorch, operation by operation: the whole of it cast to one precision.

    Threads are the process's own: each run asks for them, and closing gives back what was before.
    """

    def __init__(self, net: nn.Module, setup: Setup, input_shape: Shape) -> None:
        self.setup = setup
        self.input_shape = input_shape
        self._threads_before = torch.get_num_threads()
        # Once: to find out how many may be used reads files, which takes as long as a small layer.
        self._threads = setup.thread_count
        self._use_threads()
        started = time.perf_counter()
        multiply_float32_in_full(setup)
        self._net = twin(net, input_shape, setup.precision, setup.layout, setup.device)
        self._call = self._ready(self._net)
        self._wait()
        self.load_seconds = time.perf_counter() - started
        self.precision = setup.precision
        self.share = judged(weights_by_precision(self._net), setup)
        self.file_bytes = sum(tensor.nbytes for tensor in self._net.state_dict().values())

    def _ready(self, net: nn.Module) -> Call:
        """What a run calls."""
        return net

    def prepare(self, images: Images) -> Tensor:
        """See :class:`Session`; shares the memory of the images where nothing has to change."""
        tensor = torch.from_numpy(as_images(images, self.input_shape))
        prepared = as_asked(tensor, self.setup.precision, self.setup.layout, self.setup.device)
        self._wait()
        return prepared

    def run(self, prepared: Tensor) -> Any:
        """See :class:`Session`.

        Raises:
            VertebraError: the network fails.
        """
        self._use_threads()
        try:
            with torch.inference_mode():
                output = self._call(prepared)
            self._wait()
        except Exception as error:  # a forward may raise anything
            raise self._failure(error) from error
        return output

    def _failure(self, error: Exception) -> VertebraError:
        """What is said of an error on the way through the network."""
        kind, line = type(self._net).__name__, place_of(error)
        text = f"{kind} cannot run on images of shape {self.input_shape}: {said(error)}"
        return VertebraError(text + (f" ({line})" if line else ""))

    def run_all(self, prepared: Tensor, calls: int) -> None:
        """See :class:`Session`: one after the other."""
        for _ in range(calls):
            self.run(prepared)

    def numpy(self, output: Any) -> Images:
        """See :class:`Session`."""
        if not isinstance(output, Tensor):
            kind = type(output).__name__
            raise VertebraError(f"the network gives a {kind}, where one tensor of logits is wanted")
        copied: Images = output.float().cpu().numpy().copy()
        return copied

    def layers(self, prepared: Tensor, rounds: int = ROUNDS) -> list[LayerTime]:
        """See :class:`Session`: PyTorch's profiler, by the module that an operation ran in."""
        self.run(prepared)
        return layers_by_module(self._net, lambda: self.run(prepared), self.precision, rounds)

    def close(self) -> None:
        """See :class:`Session`."""
        torch.set_num_threads(self._threads_before)
        del self._net, self._call

    def _use_threads(self) -> None:
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    def _wait(self) -> None:
        if self.setup.on_gpu:
            torch.cuda.synchronize(self.setup.device)


def weights_by_precision(net: nn.Module) -> Counter[str]:
    """Numbers in the weights of convolutions and products, by their precision.

    PyTorch multiplies only what is of one type, so the type of a weight is that of its product.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    sizes: Counter[str] = Counter()
    for weight in net.parameters():
        if weight.ndim > 1:
            sizes[names.get(weight.dtype, str(weight.dtype))] += weight.numel()
    return sizes


def multiply_float32_in_full(setup: Setup) -> None:
    """A GPU would otherwise round the factors of a float32 convolution to TF32's ten bits."""
    if setup.on_gpu:
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
