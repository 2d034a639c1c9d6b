"""PyTorch's compiler as an engine."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import torch
import torch._dynamo
import torch._inductor.compile_fx
from torch import Tensor, nn

from vertebra.core import VertebraError
from vertebra.runtime.engine_eager import Call, EagerSession
from vertebra.runtime.session import ROUNDS, LayerTime, said
from vertebra.runtime.torch_layers import kernels_on_device, layers_by_kernel


class CompiledSession(EagerSession):
    """A network compiled by Inductor as one graph for one shape; the first run compiles."""

    def _ready(self, net: nn.Module) -> Call:
        return self._compiled(net)

    def _compiled(self, net: nn.Module, **extra: Any) -> Call:
        # Threads are written into the code; without a number a cached one may come from elsewhere.
        options = {} if self.setup.on_gpu else {"cpp.threads": self.setup.thread_count}
        call: Call = torch.compile(
            _frame_of_its_own(net), fullgraph=True, dynamic=False, options={**options, **extra}
        )
        return call

    def _failure(self, error: Exception) -> VertebraError:
        if isinstance(error, torch._dynamo.exc.TorchDynamoException):
            text = f"torch.compile cannot take the network as one graph: {said(error)}"
            return VertebraError(text)
        return super()._failure(error)

    def layers(self, prepared: Tensor, rounds: int = ROUNDS) -> list[LayerTime]:
        """See :class:`Session`: kernels, which on a CPU are compiled anew to be seen."""
        if self.setup.on_gpu:
            self.run(prepared)
            return kernels_on_device(lambda: self.run(prepared), self.precision, rounds)
        plain = self._call
        self._call = self._compiled(self._net, **{"cpp.enable_kernel_profile": True})
        try:
            self.run(prepared)
            return layers_by_kernel(lambda: self.run(prepared), self.precision, rounds)
        finally:
            self._call = plain


def _frame_of_its_own(net: nn.Module) -> Call:
    """A call of the network in a new code object.

    The compiler keeps what it compiled with a function's code, which all networks of a class share,
    and after eight of them it gives up.
    """

    def call(images: Tensor) -> Any:
        return net(images)

    own: Call = FunctionType(call.__code__.replace(), globals(), closure=call.__closure__)
    return own
