"""A step of training as a subject: forward, loss, backward, optimiser, on one random batch."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vertebra.bench.network import network
from vertebra.bench.subject import OPTIMIZER
from vertebra.runtime import Setup
from vertebra.runtime.setup import Shape


@dataclass
class TrainingOpener:
    """Builds the network and what trains it."""

    target: str
    shape: Shape
    setup: Setup

    def import_engine(self) -> None:
        """See :class:`.subject.Opener`."""
        importlib.import_module("vertebra.train.optimizer")

    def load(self) -> TrainingStep:
        """See :class:`.subject.Opener`."""
        import torch

        from vertebra.runtime.engine_eager import multiply_float32_in_full

        torch.set_num_threads(self.setup.thread_count)
        multiply_float32_in_full(self.setup)
        start = time.perf_counter()
        step = TrainingStep(self.target, self.shape, self.setup)
        step.load_seconds = time.perf_counter() - start
        return step


class TrainingStep:
    """The step; it goes on learning the same batch."""

    load_seconds = 0.0

    def __init__(self, target: str, shape: Shape, setup: Setup) -> None:
        import torch
        from torch import nn

        from vertebra.nn import Backbone
        from vertebra.runs.sections import TrainSection
        from vertebra.train.float32_convs import keep_convs_in_float32
        from vertebra.train.infer import autocast
        from vertebra.train.optimizer import make_optimizer

        torch.manual_seed(0)
        layout = torch.channels_last if setup.layout == "channels_last" else torch.contiguous_format
        self._device = torch.device(setup.device)
        net: nn.Module = network(target, shape).train()
        net = net.to(self._device).to(memory_format=layout)
        if setup.precision == "bf16":
            keep_convs_in_float32(net)
        self._autocast = autocast(self._device, setup.precision)
        self._optimizer = make_optimizer(net, TrainSection(optimizer=OPTIMIZER))
        self._images = torch.randn(shape, device=self._device).contiguous(memory_format=layout)
        forward = net.forward_train if isinstance(net, Backbone) else net
        self._forward = torch.compile(forward) if setup.engine == "compile" else forward
        with self._autocast, torch.no_grad():
            classes = self._logits()[0].shape[1]
        self._labels = torch.randint(classes, shape[:1], device=self._device)
        self.file_bytes = sum(t.numel() * t.element_size() for t in net.state_dict().values())

    def call(self) -> object:
        """One step."""
        import torch
        from torch.nn import functional as F

        self._optimizer.zero_grad(set_to_none=True)
        with self._autocast:
            outputs = self._logits()
        losses = [F.cross_entropy(logits.float(), self._labels) for logits in outputs]
        loss = torch.stack(losses).sum()
        torch.autograd.backward(loss)
        self._optimizer.step()
        return loss.item()  # a GPU has finished when this is known

    def call_all(self, calls: int) -> None:
        """See :class:`.subject.Subject`."""
        for _ in range(calls):
            self.call()

    def parity(self) -> None:
        """Nothing to compare with."""
        return

    def share(self) -> None:
        """Not told: autocast leaves some operations in float32."""
        return

    def layers(self) -> list[Mapping[str, Any]]:
        """See :class:`.subject.Subject`."""
        from vertebra.core import VertebraError

        raise VertebraError("time by layer is told of inference only")

    def _logits(self) -> list[Any]:
        """Those of the network, then of its auxiliary heads."""
        outputs = self._forward(self._images)
        return [outputs.logits, *outputs.aux] if hasattr(outputs, "logits") else [outputs]
