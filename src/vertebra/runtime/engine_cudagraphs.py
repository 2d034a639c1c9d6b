"""Eager PyTorch on a GPU, captured once and replayed: no time goes into launching kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vertebra.runtime.engine_eager import Call, EagerSession
from vertebra.runtime.session import ROUNDS, LayerTime
from vertebra.runtime.torch_layers import kernels_on_device
from vertebra.runtime.twin import as_asked

_WARM_UPS = 3  # libraries choose their algorithms and take their workspaces before the capture


class CudaGraphSession(EagerSession):
    """A captured network; images are copied to where the graph reads them."""

    def _ready(self, net: nn.Module) -> Call:
        device, setup = torch.device(self.setup.device), self.setup
        cuda: Any = torch.cuda  # partly without types
        with torch.inference_mode(), cuda.device(device):
            images = as_asked(
                torch.zeros(self.input_shape), setup.precision, setup.layout, setup.device
            )
            # As PyTorch asks for: what warms up runs on another stream than the default one.
            side = cuda.Stream(device)
            side.wait_stream(cuda.current_stream(device))
            with cuda.stream(side):
                for _ in range(_WARM_UPS):
                    net(images)
            cuda.current_stream(device).wait_stream(side)
            graph = cuda.CUDAGraph()
            with cuda.graph(graph):
                output = net(images)

        def replay(prepared: Tensor) -> Any:
            images.copy_(prepared)
            graph.replay()
            return output

        return replay

    def layers(self, prepared: Tensor, rounds: int = ROUNDS) -> list[LayerTime]:
        """See :class:`Session`: kernels, which is all that a replay consists of."""
        return kernels_on_device(lambda: self.run(prepared), self.precision, rounds)
