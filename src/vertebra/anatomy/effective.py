"""The effective receptive field: which pixels matter, of those that could.

Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field in Deep Convolutional
Neural Networks", 2016, arXiv:1701.04128. They put a gradient of 1 on the central position of a map
and 0 everywhere else, propagate it back to the image, and average over random inputs; a pixel
belongs to the effective field if its value is above 1 - 95.45 % of the central one (section 3.1).

Two details are ours. Where a map has many channels, each gets a gradient of +1 or -1, drawn for
every sample: all +1 would give nothing behind a layer norm, whose channels sum to a constant. And
absolute values are averaged, so that samples do not cancel; the largest of them stands for the
central one, which striding may leave without a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from vertebra.anatomy.anatomy import Anatomy, dissect
from vertebra.anatomy.inputs import described, explained, name_of
from vertebra.anatomy.places import Index, Pair, grid_of, index_of, middle_of
from vertebra.anatomy.receptive import ReceptiveField
from vertebra.anatomy.shape_only import in_mode
from vertebra.core import VertebraError, rng, unknown
from vertebra.nn import Backbone

# "2 standard deviations as our measurement", section 3.1.
THRESHOLD = 1 - 0.9545


@dataclass(frozen=True, eq=False)
class EffectiveField:
    """What :func:`effective_field` measured.

    Attributes:
        layer: path of the module whose output was asked; "" for the last map before pooling.
        values: (H, W) mean absolute gradient by pixel of the image, summed over the image's
            channels, largest 1.
        grid: rows and columns of the map.
        position: the (row, column) of it that was asked, its middle.
        theoretical: the theoretical receptive field; None where not known.
        box: what the position sees in theory, cut to the image: (first, last) row, then column.
        samples, seed: how many noise images, and which.
    """

    layer: str
    values: NDArray[np.float64]
    grid: Pair
    position: Pair
    theoretical: ReceptiveField | None
    box: tuple[Pair, Pair]
    samples: int
    seed: int

    @property
    def pixels(self) -> int:
        """Pixels above ``THRESHOLD``: the area of the effective field."""
        return int((self.values > THRESHOLD).sum())

    @property
    def side(self) -> float:
        """The paper's size: the square root of :attr:`pixels`."""
        return math.sqrt(self.pixels)

    @property
    def area(self) -> int:
        """Pixels of the theoretical field inside the image."""
        (top, bottom), (left, right) = self.box
        return (bottom - top + 1) * (right - left + 1)

    @property
    def share(self) -> float:
        """The part of the theoretical field, as far as it lies in the image, that is effective."""
        return self.pixels / self.area


def effective_field(
    net: nn.Module,
    input_size: Sequence[int] | None = None,
    layer: str | None = None,
    samples: int = 8,
    seed: int = 0,
) -> EffectiveField:
    """Measure how much each pixel matters to the middle of a map.

    The images are noise of mean 0 and deviation 1, as pixels are after preprocessing, drawn at the
    address (seed, "effective field"). The network runs in evaluation mode and is left as it was:
    modes, gradients and hooks.

    Args:
        net: any module with real weights, on any device.
        input_size: (channels, height, width); None asks the network for its own.
        layer: path of the module whose output is asked, its last run; None is the last of
            ``features`` for a :class:`~vertebra.nn.Backbone`, else the last map before pooling.
        samples: noise images.
        seed: of the noise.

    Raises:
        VertebraError: no such layer, its output is no map, the weights have no numbers, or no
            gradient arrives at the image.
    """
    _check(net, layer, samples)
    size, _ = described(net, input_size, 1, None)[0]
    if len(size) != 4:
        raise VertebraError(
            f"{name_of(net)} takes {size[1:]}, which is no (channels, height, width)"
        )
    probe = _Probe(net, _chosen(net, size[1:]) if layer is None else layer)
    body = dissect(probe, size[1:])
    field, grid = _map_of(body, probe.words)
    position = middle_of(grid)
    index = index_of(field, position)
    box = field.box(*position)
    if index is None or box is None:
        raise VertebraError(f"the middle of {probe.words} does not see the image")
    with explained(net, [(size, torch.float32)]), in_mode(probe, training=False):
        drawn = (_gradient(probe, size, index, seed, sample) for sample in range(samples))
        values = np.sum(list(drawn), axis=0)
    largest = float(values.max())
    if not (math.isfinite(largest) and largest > 0):
        raise VertebraError(f"no gradient of {probe.words} arrives at the image")
    return EffectiveField(
        layer=probe.layer or "",
        values=values / largest,
        grid=grid,
        position=position,
        theoretical=field,
        box=box,
        samples=samples,
        seed=seed,
    )


def _check(net: nn.Module, layer: str | None, samples: int) -> None:
    """Refuse what cannot be measured, before anything is."""
    if samples < 1:
        raise VertebraError(f"samples must be 1 or more, got {samples}")
    if any(parameter.is_meta for parameter in net.parameters()):
        raise VertebraError(
            "an effective receptive field needs weights with numbers, not meta ones"
        )
    known = [name for name, _ in net.named_modules() if name]
    if layer is not None and layer not in known:
        raise unknown("layer", layer, known)


class _Probe(nn.Module):
    """A network cut off behind one layer, by a hook that is there only while it runs.

    Without a layer it is cut off behind a backbone's stages, or not at all.
    """

    def __init__(self, net: nn.Module, layer: str | None) -> None:
        super().__init__()
        self.net = net
        self.name = name_of(net)  # which errors are about
        self.layer = layer

    @property
    def words(self) -> str:
        """What it gives, for an error."""
        return f"layer '{self.layer}'" if self.layer else "the last map"

    def forward(self, images: Tensor) -> Tensor:
        if self.layer is None:
            if isinstance(self.net, Backbone):
                return self.net.features(images, out_stages=(-1,))[0]
            return self._first(self.net(images))
        taken: list[Tensor] = []

        def take(_module: nn.Module, _inputs: Any, output: Any) -> None:
            # A copy: what follows may write into it.
            taken.append(self._first(output).clone())

        handle = self.net.get_submodule(self.layer).register_forward_hook(take)
        try:
            self.net(images)
        finally:
            handle.remove()
        if not taken:
            raise VertebraError(f"layer '{self.layer}' does not run when the network does")
        return taken[-1]

    def _first(self, output: Any) -> Tensor:
        """The first tensor of what may be a dictionary, or a list of maps."""
        found = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if not found:
            raise VertebraError(f"{self.words} gives no tensor")
        return found[0]


def _chosen(net: nn.Module, input_size: Sequence[int]) -> str | None:
    """The layer that gives the last map before pooling; None where the network gives it itself."""
    if isinstance(net, Backbone):
        return None
    body = dissect(net, input_size)
    fields = body.fields
    if body.graph.outputs and _positions(fields.get(body.graph.outputs[0])):
        return None
    for call in reversed(body.graph.calls):
        if call.leaf and call.outputs and _positions(fields.get(call.outputs[0])) > 1:
            return call.path
    raise VertebraError(f"{name_of(net)} has no layer that gives a map")


def _positions(field: ReceptiveField | None) -> int:
    """How many positions a map has; 0 for what is none, or has them mixed with its channels."""
    grid = grid_of(field)
    if field is None or grid is None or index_of(field, (0, 0)) is None:
        return 0
    return grid[0] * grid[1]


def _map_of(body: Anatomy, words: str) -> tuple[ReceptiveField, Pair]:
    """Field and positions of what a network gives first."""
    graph = body.graph
    field = body.fields.get(graph.outputs[0]) if graph.outputs else None
    grid = grid_of(field)
    if field is None or grid is None or not _positions(field):
        shape = graph.values[graph.outputs[0]].shape if graph.outputs else ()
        raise VertebraError(
            f"{words} gives {shape}, which is no map whose positions lie in the image"
        )
    return field, grid


def _gradient(
    probe: _Probe, size: tuple[int, ...], index: Index, seed: int, sample: int
) -> NDArray[np.float64]:
    """(H, W) absolute gradient for one noise image."""
    like = next(probe.parameters(), torch.zeros(()))
    noise = rng(seed, "effective field", sample, "image").standard_normal(size)
    with torch.inference_mode(False), torch.enable_grad():
        image = torch.from_numpy(noise).to(like.device, like.dtype).requires_grad_()
        # A copy: the first layer may write into its input, which a leaf forbids.
        centre = probe(image.clone())[index]
        signs = rng(seed, "effective field", sample, "signs").choice((-1.0, 1.0), centre.shape)
        signal = torch.from_numpy(signs).to(centre)
        (gradient,) = torch.autograd.grad(centre, image, signal, allow_unused=True)
    if gradient is None:
        raise VertebraError(f"no gradient of {probe.words} arrives at the image")
    found: NDArray[np.float64] = gradient[0].detach().double().abs().sum(0).cpu().numpy()
    return found
