"""bf16 is chosen only where its gradients are right."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

import vertebra as vb
from vertebra.anatomy import dissect
from vertebra.core import VertebraError
from vertebra.machine import Machine
from vertebra.runs import Event, Moment, Recipe
from vertebra.train.float32_convs import keep_convs_in_float32, needs_float32
from vertebra.train.rules import default_precision

WITH_BF16 = Machine("Linux", "any", 2, ("avx512_bf16",), 2**34)
WITHOUT = dataclasses.replace(WITH_BF16, instruction_sets=("avx2",))


def precision(net: nn.Module, channels: int, size: int, machine: Machine = WITH_BF16) -> str:
    graph = dissect(net, (channels, size, size)).graph
    return default_precision(net, graph, "cpu", machine)


class Functional(nn.Module):
    """A convolution that is no module of its own."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8, size, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "convnext_atto"])
def test_the_rule(name: str) -> None:
    with torch.device("meta"):
        net = vb.zoo.create(name)
    assert precision(net, 3, 64) == "bf16"
    assert precision(net, 3, 64, WITHOUT) == "fp32"


def test_a_tap_in_padding_that_cannot_be_kept_in_float32_rules_bf16_out() -> None:
    assert precision(nn.Sequential(Functional()), 8, 2) == "bf16"
    assert precision(nn.Sequential(Functional()), 8, 1) == "fp32"
    assert precision(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1)), 8, 1) == "bf16"


@pytest.mark.parametrize(
    "sizes", [{"image_size": 64}, {"progressive": [("0ep", 64), ("1ep", 256)]}]
)
def test_bf16_that_is_asked_for_where_it_is_not_safe_is_refused(
    sizes: dict[str, Any], tmp_path: Path
) -> None:
    """This network mixes its kernels anew for every image, with a function."""
    changes = {"model": "timm/efficientnet_cc_b0_4e", "image_size": 256, "precision": "bf16"}
    recipe = Recipe.load("scratch-small", **{**changes, **sizes, "device": "cpu"})
    with pytest.raises(VertebraError, match=r"not safe .* 64 pixels: in net\.blocks\.5\."):
        vb.train.fit(recipe, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def fill_freed_memory() -> None:
    """What the allocator hands out next holds NaN, so that reading it unwritten shows."""
    for exponent in range(10, 23, 2):
        for dtype in (torch.bfloat16, torch.float32):
            torch.full((1 << exponent,), torch.nan, dtype=dtype)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("groups", [1, 64, 128])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_gradients_of_convolutions_are_right(
    kernel: int, groups: int, layout: torch.memory_format
) -> None:
    """The float32 gradients, whatever memory held before, also of taps that meet only padding."""
    for stride in (1, 2, 4):
        for size in ((1, 1), (1, 2), (2, 2), (3, 3), (4, 4), (1, 8), (8, 8)):
            conv = nn.Conv2d(128, 256, kernel, stride, kernel // 2, groups=groups, bias=False)
            conv = conv.to(memory_format=layout)
            image = torch.randn(4, 128, *size).contiguous(memory_format=layout)
            image.requires_grad_()
            out = conv(image)
            upper = torch.randn_like(out)
            expected = torch.autograd.grad(out, (image, conv.weight), upper)
            assert keep_convs_in_float32(conv) == 1
            for _ in range(3):
                fill_freed_memory()
                with torch.autocast("cpu", torch.bfloat16):
                    out = conv(image)
                assert out.dtype == torch.bfloat16
                found = torch.autograd.grad(out, (image, conv.weight), upper.to(out.dtype))
                for one, other in zip(found, expected, strict=True):
                    limit = 0.05 * float(other.abs().max())
                    torch.testing.assert_close(one, other, atol=limit, rtol=0)


def padded(**options: Any) -> nn.Conv2d:
    return nn.Conv2d(8, 8, 5, **options)


@pytest.mark.parametrize(
    ("conv", "size", "kept"),
    [
        (padded(padding=2), (2, 8), True),
        (padded(padding=2), (3, 8), False),
        (padded(padding="same"), (2, 8), True),
        (padded(padding="same"), (3, 8), False),
        (padded(padding="valid"), (5, 5), False),
        (padded(padding=1, padding_mode="circular"), (3, 3), False),
        (padded(padding=2, groups=8), (8, 8), True),
        (padded(padding=2, groups=2), (8, 8), False),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), (8, 8), False),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), (1, 1), True),
        (nn.Conv2d(8, 8, 3, 2, padding=1, groups=8), (8, 8), True),
    ],
    ids=str,
)
def test_what_is_kept_in_float32(conv: nn.Conv2d, size: tuple[int, int], kept: bool) -> None:
    assert needs_float32(conv, size) == kept


def test_kept_convolutions_compute_in_float32_only_while_training() -> None:
    conv = nn.Conv2d(8, 8, 7, padding=3, groups=8)
    image = torch.randn(2, 8, 9, 9).to(torch.bfloat16)
    in_float32 = conv(image.float())
    with torch.autocast("cpu", torch.bfloat16):
        in_bf16 = conv(image)
    assert not torch.equal(in_float32.to(torch.bfloat16), in_bf16), "else this shows nothing"
    state = conv.state_dict()
    assert keep_convs_in_float32(conv) == keep_convs_in_float32(conv) == 1
    assert list(conv.state_dict()) == list(state)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(conv(image), in_float32.to(torch.bfloat16))
        assert torch.equal(conv.eval()(image), in_bf16)
    assert torch.equal(conv.train()(image.float()), in_float32), "without autocast"


def test_subclasses_keep_what_they_do() -> None:
    """timm standardises the weights of some convolutions on the way."""
    standardised = timm.layers.StdConv2d(8, 8, 3, stride=2, padding=1, groups=8)
    image = torch.randn(2, 8, 9, 9)
    expected = standardised(image)
    assert not torch.allclose(expected, nn.Conv2d.forward(standardised, image))
    keep_convs_in_float32(standardised)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(standardised(image), expected.to(torch.bfloat16))


class OneConvolution:
    """Runs the first depthwise convolution that strides as the training step does."""

    def __init__(self) -> None:
        self.found: list[bool] = []

    def on(self, event: Event, moment: Moment) -> None:
        if event is Event.AFTER_FORWARD:
            convs = [m for m in moment.model.modules() if isinstance(m, nn.Conv2d)]
            conv = next(m for m in convs if m.groups > 1 and m.stride == (2, 2))
            image = torch.randn(2, conv.in_channels, 9, 9)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                half = conv(image)
            self.found.append(torch.equal(half, conv(image).to(torch.bfloat16)))


def test_a_run_keeps_them(tmp_path: Path) -> None:
    recipe = Recipe.load("scratch-small", model="mobilenet_v2", epochs="1ba", warmup=0)
    recipe = recipe.override(**{"train.precision": "bf16", "train.device": "cpu"})
    seen = OneConvolution()
    vb.train.fit(recipe, tmp_path / "run", observers=[seen])
    assert seen.found == [True]
