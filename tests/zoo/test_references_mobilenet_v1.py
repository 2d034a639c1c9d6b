"""MobileNet at every width, against a forward written down a second time and the paper's tables.

timm has the full width only. The reference uses plain functions on a state dict: no module of ours
runs in it.
"""

import pytest
import torch
from parity import MAP_TOLERANCE, assert_close, redraw
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import dissect
from vertebra.nn import Backbone, ConvNormAct
from vertebra.zoo import create

NAMES = ("mobilenet_v1", "mobilenet_v1_075", "mobilenet_v1_050")

# Table 1 of arXiv:1704.04861: filter (dw: one a channel), stride, side and channels of the input.
# Of the last depthwise layer the paper says stride 2, but that what it gives is 7 x 7 too.
TABLE_1 = """
    3x3x3x32    2  224x224x3
    3x3x32dw    1  112x112x32
    1x1x32x64   1  112x112x32
    3x3x64dw    2  112x112x64
    1x1x64x128  1  56x56x64
    3x3x128dw   1  56x56x128
    1x1x128x128 1  56x56x128
    3x3x128dw   2  56x56x128
    1x1x128x256 1  28x28x128
    3x3x256dw   1  28x28x256
    1x1x256x256 1  28x28x256
    3x3x256dw   2  28x28x256
    1x1x256x512 1  14x14x256
    3x3x512dw   1  14x14x512
    1x1x512x512 1  14x14x512
    3x3x512dw   1  14x14x512
    1x1x512x512 1  14x14x512
    3x3x512dw   1  14x14x512
    1x1x512x512 1  14x14x512
    3x3x512dw   1  14x14x512
    1x1x512x512 1  14x14x512
    3x3x512dw   1  14x14x512
    1x1x512x512 1  14x14x512
    3x3x512dw   2  14x14x512
    1x1x512x1024 1 7x7x512
    3x3x1024dw  1  7x7x1024
    1x1x1024x1024 1 7x7x1024
"""
# Table 6: million multiply-adds and million parameters.
TABLE_6 = {
    "mobilenet_v1": ("569", "4.2"),
    "mobilenet_v1_075": ("325", "2.6"),
    "mobilenet_v1_050": ("149", "1.3"),
}


def _on_meta(name: str) -> Backbone:
    with torch.device("meta"):
        return create(name, seed=0)


def _as_in_table_1(net: Backbone) -> list[list[str]]:
    lines = []
    for layer in dissect(net).layers:
        if layer.kind != "Conv2d":
            continue
        conv = net.get_submodule(layer.name)
        _, channels, height, width = layer.input_shape
        depthwise = conv.groups == channels == conv.out_channels
        filters = f"{channels}dw" if depthwise else f"{channels}x{conv.out_channels}"
        kernel = "x".join(str(size) for size in conv.kernel_size)
        lines.append([f"{kernel}x{filters}", str(conv.stride[0]), f"{height}x{width}x{channels}"])
    return lines


def test_layers_are_those_of_table_1() -> None:
    expected = [line.split() for line in TABLE_1.strip().splitlines()]
    assert _as_in_table_1(_on_meta("mobilenet_v1")) == expected


@pytest.mark.parametrize("name", NAMES)
def test_work_and_parameters_are_those_of_table_6(name: str) -> None:
    body = dissect(_on_meta(name))
    assert (f"{body.macs / 1e6:.0f}", f"{body.params / 1e6:.1f}") == TABLE_6[name]


def _unit(weights: dict[str, Tensor], path: str, x: Tensor, stride: int = 1) -> Tensor:
    """Convolution, batch norm and ReLU6; depthwise where a filter sees one channel only."""
    kernel = weights[f"{path}.conv.weight"]
    groups = x.shape[1] // kernel.shape[1]
    x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[2] // 2, groups=groups)
    mean, variance, scale, shift = (
        weights[f"{path}.norm.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(x, mean, variance, scale, shift, eps=1e-5).clamp(0, 6)


def _reference(weights: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """The map of each stage, then the logits."""
    x = _unit(weights, "stem", x, stride=2)
    results = []
    for stage, blocks in enumerate((1, 2, 2, 6, 2)):
        for block in range(blocks):
            path = f"stages.{stage}.{block}"
            stride = 2 if stage > 0 and block == 0 else 1
            x = _unit(weights, f"{path}.depthwise", x, stride)
            x = _unit(weights, f"{path}.pointwise", x)
        results.append(x)
    pooled = x.mean(dim=(2, 3))
    return [*results, F.linear(pooled, weights["head.fc.weight"], weights["head.fc.bias"])]


def _saturating(name: str) -> Backbone:
    """Redrawn, and norms scaled up so that every activation meets values above 6."""
    net = create(name, seed=0).double().eval()
    redraw(net)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.mul_(4)
    return net


def _images(size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, size, size, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("size", [64, 75])
@pytest.mark.parametrize("name", NAMES)
def test_equal_to_the_reference(name: str, size: int) -> None:
    net, x = _saturating(name), _images(size)
    with torch.no_grad():
        ours = [*net.features(x), net(x)]
        expected = _reference(net.state_dict(), x)
    for index, (our, their) in enumerate(zip(ours, expected, strict=True)):
        assert_close(f"{name} {index}", our, their, MAP_TOLERANCE)


def test_the_reference_sees_every_activation() -> None:
    """Teeth: ReLU for ReLU6 in any one place is noticed."""
    net, x = _saturating("mobilenet_v1_050"), _images(64)
    expected = _reference(net.state_dict(), x)[-1]
    units = [module for module in net.modules() if isinstance(module, ConvNormAct)]
    assert len(units) == 27
    for unit in units:
        proper, unit.act = unit.act, nn.ReLU()
        with torch.no_grad(), pytest.raises(AssertionError):
            assert_close("logits", net(x), expected, MAP_TOLERANCE)
        unit.act = proper
