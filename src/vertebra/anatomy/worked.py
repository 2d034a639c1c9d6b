"""One number of one convolution of a real network on a real image, worked through by hand.

PyTorch's ``conv2d`` is a cross-correlation: the output of channel ``o`` at (y, x) is its bias plus
the sum, over the input channels of its group and the taps (i, j) of the kernel, of ``weight[o, c,
i, j] * input[c, y * stride - padding + i * dilation, x * stride - padding + j * dilation]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy.anatomy import dissect
from vertebra.anatomy.inputs import explained, name_of
from vertebra.anatomy.places import Pair
from vertebra.anatomy.shape_only import in_mode
from vertebra.core import VertebraError, nearest, unknown

Floats = NDArray[np.float64]
Box = tuple[Pair, Pair]

# How far the network's number may be off, of the sum of all products without their signs, beyond
# one rounding to its own type: what adding up in another order leaves in float32, and what TF32
# leaves, whose products have ten bits, where it is on.
_ADDED_UP, _TF32 = 1e-5, 1e-3


@dataclass(frozen=True, eq=False)
class WorkedConvolution:
    """What :func:`work_through` found; c counts the input channels of the group.

    Attributes:
        layer, kind: path and class of the convolution.
        channel, position: the output channel, and (row, column) of its map.
        channels: the input channel that each c is.
        patches: (c, kernel height, kernel width) numbers under the kernel, 0 in zero padding.
        kernels: (c, kernel height, kernel width) weights.
        inside: (kernel height, kernel width) whether a tap lies in the input map, not in padding.
        bias: None where the convolution has none.
        network: the number that the network itself gave there.
        input_map, output_map: of the strongest input channel and of the output channel, (H, W).
        kernel_size, stride, dilation, groups, padding_mode: the convolution's own.
        padding: (top, bottom), then (left, right).
        window: (first, last) row, then column, of the input map under the kernel; beyond the map
            in padding.
        seen: (first, last) row, then column, of the image in the receptive field; None where not
            known, or where only padding is seen.
        image: (H, W, 3) the image, stretched to 0 to 255.
    """

    layer: str
    kind: str
    channel: int
    position: Pair
    channels: tuple[int, ...]
    patches: Floats
    kernels: Floats
    inside: NDArray[np.bool_]
    bias: float | None
    network: float
    input_map: Floats
    output_map: Floats
    kernel_size: Pair
    stride: Pair
    padding: Box
    padding_mode: str
    dilation: Pair
    groups: int
    window: Box
    seen: Box | None
    image: NDArray[np.uint8]

    @property
    def products(self) -> Floats:
        """(c, kernel height, kernel width) number by weight."""
        return self.patches * self.kernels

    @property
    def sums(self) -> Floats:
        """(c,) the products of each input channel, added up."""
        return np.asarray(self.products.sum(axis=(1, 2)))

    @property
    def result(self) -> float:
        """All of them and the bias: what :attr:`network` must be, but for rounding."""
        return float(self.sums.sum()) + (self.bias or 0.0)

    @property
    def strongest(self) -> list[int]:
        """Every c, the one that contributes most, up or down, first."""
        return [int(c) for c in np.argsort(-np.abs(self.sums), kind="stable")]


def work_through(
    net: nn.Module,
    image: Tensor,
    layer: str,
    position: tuple[int, int] | None = None,
    channel: int = 0,
) -> WorkedConvolution:
    """Take one output of one convolution apart, in float64 from the maps that the network made.

    The network runs once in evaluation mode and is left as it was. Where the layer runs more than
    once, its last run counts.

    Args:
        net: any module with real weights.
        image: (1, C, H, W), preprocessed, on the network's device.
        layer: path of an ``nn.Conv2d``.
        position: (row, column) of the output map; None is where the channel is largest.
        channel: of the output.

    Raises:
        VertebraError: no such layer, it is no ``nn.Conv2d``, channel or position lie outside of its
            output, or it computes something else than its weight says (as subclasses may).
    """
    conv = _convolution(net, layer)
    _check_request(conv, layer, image, channel)
    given, made = _maps(net, conv, layer, image)
    place = _position(layer, made[channel], position)
    patches, window, inside = _under_kernel(conv, given, place)
    per_group = conv.in_channels // conv.groups
    first = channel // (conv.out_channels // conv.groups) * per_group
    patches = patches[first : first + per_group]
    kernels = _array(conv.weight[channel])
    bias = None if conv.bias is None else float(conv.bias[channel].detach())
    strongest = int(np.abs((patches * kernels).sum(axis=(1, 2))).argmax())
    left, right, top, bottom = conv._reversed_padding_repeated_twice
    worked = WorkedConvolution(
        layer=layer,
        kind=type(conv).__name__,
        channel=channel,
        position=place,
        channels=tuple(range(first, first + per_group)),
        patches=patches,
        kernels=kernels,
        inside=inside,
        bias=bias,
        network=float(made[channel, place[0], place[1]]),
        input_map=_array(given[first + strongest]),
        output_map=_array(made[channel]),
        kernel_size=_pair(conv.kernel_size),
        stride=_pair(conv.stride),
        padding=((top, bottom), (left, right)),
        padding_mode=conv.padding_mode,
        dilation=_pair(conv.dilation),
        groups=conv.groups,
        window=window,
        seen=_seen(net, image, layer, place),
        image=_picture(image),
    )
    _check(worked, made.dtype)
    return worked


def _check_request(conv: nn.Conv2d, layer: str, image: Tensor, channel: int) -> None:
    if image.ndim != 4 or len(image) != 1:
        raise VertebraError(f"image must be one, (1, C, H, W), got {tuple(image.shape)}")
    if not 0 <= channel < conv.out_channels:
        raise VertebraError(
            f"layer '{layer}' has output channels 0 to {conv.out_channels - 1}, no {channel}"
        )


def _convolution(net: nn.Module, layer: str) -> nn.Conv2d:
    modules = dict(net.named_modules())
    convolutions = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
    found = modules.get(layer)
    if isinstance(found, nn.Conv2d):
        return found
    if not convolutions:
        raise VertebraError(f"{name_of(net)} has no nn.Conv2d to work through")
    if found is None:
        raise unknown("layer", layer, convolutions)
    within = [name for name in convolutions if name.startswith(f"{layer}.")]
    guess = within[0] if within else nearest(layer, convolutions) or convolutions[0]
    raise VertebraError(
        f"layer '{layer}' is {type(found).__name__}, not an nn.Conv2d; did you mean {guess}?"
    )


def _maps(net: nn.Module, conv: nn.Conv2d, layer: str, image: Tensor) -> tuple[Tensor, Tensor]:
    """What the layer took (C_in, H, W) and gave (C_out, H', W') in its last run."""
    taken: list[tuple[Tensor, Tensor]] = []

    def take(_module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        # Copies: what follows may write into either.
        taken.append((inputs[0].detach().clone(), output.detach().clone()))

    handle = conv.register_forward_hook(take)
    size, dtype = tuple(image.shape), image.dtype
    try:
        with explained(net, [(size, dtype)]), in_mode(net, training=False), torch.no_grad():
            net(image)
    finally:
        handle.remove()
    if not taken:
        raise VertebraError(f"layer '{layer}' does not run when the network does")
    given, made = taken[-1]
    if len(given) != 1 or given.ndim != 4:
        raise VertebraError(f"layer '{layer}' takes {tuple(given.shape)}, not one map")
    return given[0], made[0]


def _position(layer: str, output: Tensor, position: tuple[int, int] | None) -> Pair:
    rows, columns = output.shape
    if position is None:
        place = int(output.argmax())
        return place // columns, place % columns
    row, column = position
    if not (0 <= row < rows and 0 <= column < columns):
        raise VertebraError(
            f"position {row},{column} lies outside of the output of '{layer}', whose rows are 0 to "
            f"{rows - 1} and columns 0 to {columns - 1}"
        )
    return row, column


def _under_kernel(
    conv: nn.Conv2d, given: Tensor, place: Pair
) -> tuple[Floats, Box, NDArray[np.bool_]]:
    """(C_in, kernel height, kernel width) numbers, the window, and which taps lie in the map."""
    pad = conv._reversed_padding_repeated_twice  # left, right, top, bottom
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = F.pad(given.detach().cpu().double()[None], pad, mode)[0]
    taps, ends, within = [], [], []
    for axis, before in ((0, pad[2]), (1, pad[0])):
        size, kernel = given.shape[1 + axis], conv.kernel_size[axis]
        first = place[axis] * conv.stride[axis]
        along = first + np.arange(kernel) * conv.dilation[axis]
        taps.append(along)
        ends.append((int(along[0]) - before, int(along[-1]) - before))
        within.append((along >= before) & (along < before + size))
    patches: Floats = padded.numpy()[:, taps[0][:, None], taps[1][None, :]]
    return patches, (ends[0], ends[1]), within[0][:, None] & within[1][None, :]


def _seen(net: nn.Module, image: Tensor, layer: str, place: Pair) -> Box | None:
    """What the position sees of the image."""
    try:
        body = dissect(net, inputs=[image])
    except VertebraError:
        return None  # it reads numbers: it runs, but its fields cannot be followed
    calls = [call for call in body.graph.calls if call.path == layer and call.outputs]
    field = body.fields.get(calls[-1].outputs[0]) if calls else None
    return field.box(*place) if field else None


def _agrees(dtype: torch.dtype) -> float:
    tf32 = torch.cuda.is_available() and torch.backends.cudnn.allow_tf32
    return max(_TF32 if tf32 else _ADDED_UP, torch.finfo(dtype).eps)


def _check(worked: WorkedConvolution, dtype: torch.dtype) -> None:
    """Raise where the network's own number, which was rounded to ``dtype``, is another one."""
    size = float(np.abs(worked.products).sum()) + abs(worked.bias or 0.0)
    if not abs(worked.result - worked.network) <= _agrees(dtype) * size + 1e-12:
        raise VertebraError(
            f"layer '{worked.layer}' ({worked.kind}) computes something else than its weight and "
            f"input say: {worked.network:.6g} instead of {worked.result:.6g}"
        )


def _array(tensor: Tensor) -> Floats:
    found: Floats = tensor.detach().cpu().double().numpy()
    return found


def _pair(two: tuple[int, ...]) -> Pair:
    return two[0], two[1]


def _picture(image: Tensor) -> NDArray[np.uint8]:
    """(H, W, 3) for the eye: least to largest number stretched to black to white."""
    pixels = image[0].detach().cpu().double()
    pixels = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
    low, high = float(pixels.min()), float(pixels.max())
    scaled = (pixels - low) / (high - low or 1.0)
    found: NDArray[np.uint8] = (255 * scaled).round().byte().permute(1, 2, 0).numpy()
    return found
