"""Networks whose answers depend on their images, and how closely two answers agree."""

from __future__ import annotations

import numpy as np
import torch
from driver import small
from numpy.typing import NDArray
from parity import redraw
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vertebra.runtime import Artifact

Images = NDArray[np.float32]
Artifacts = dict[tuple[str, str], Artifact]  # by engine and precision

SHAPE = (2, 3, 32, 32)


class TinyNet(nn.Module):
    """Convolutions, one of them depthwise, a branch, and what engines fuse with them."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.mix = nn.Conv2d(width, width, 1, bias=False)
        self.spread = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(16 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.norm(self.spread(torch.relu(self.mix(x)))))
        logits: Tensor = self.head(nn.functional.avg_pool2d(x, 4).flatten(1))
        return logits


def images(shape: tuple[int, ...], seed: int = 0) -> Images:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def living(net: nn.Module, size: tuple[int, ...]) -> nn.Module:
    """Every number drawn anew, and statistics learnt from images: no signal dies on its way.

    In training mode, and with its parameters still to be learnt.
    """
    redraw(net)
    with torch.no_grad():
        for weight in net.parameters():
            if weight.ndim > 1:
                weight.mul_(2**0.5)  # what a ReLU takes away
        for module in net.modules():
            if isinstance(module, _BatchNorm):
                module.reset_running_stats()
                module.momentum = None  # the mean over all batches
        net.train()(torch.from_numpy(images((16, *size), seed=1)))
    return net


def member(name: str) -> nn.Module:
    """The small network of the zoo's tests, without heads of half a gigabyte."""
    net = small(name)
    if name.startswith(("alexnet", "vgg")):
        net.reset_head(10, pool="avg")
    return living(net, net.input_size)


def answer(net: nn.Module, given: Images) -> Images:
    """Of PyTorch in float32; the network is in training mode again afterwards."""
    net.eval()
    with torch.inference_mode():
        logits: Images = net(torch.from_numpy(given)).numpy()
    net.train()
    return logits


def error(found: Images, expected: Images) -> float:
    """The largest difference over what tells two images apart, so that a bias hides nothing."""
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    apart = np.abs(expected - expected.mean(0)).max()
    assert apart > 0.02 * np.abs(expected).max(), "the reference does not look at its images"
    return float(np.abs(found - expected).max() / apart)
