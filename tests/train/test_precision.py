"""bf16 is chosen only where its gradients are right."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import vertebra as vb
from vertebra.anatomy import dissect
from vertebra.core import VertebraError
from vertebra.machine import Machine
from vertebra.runs import Recipe
from vertebra.train.rules import default_precision, unsafe_in_bf16

WITH_BF16 = Machine("Linux", "any", 2, ("avx512_bf16",), 2**34)
WITHOUT = dataclasses.replace(WITH_BF16, instruction_sets=("avx2",))


def precision(name: str, size: int, machine: Machine = WITH_BF16) -> str:
    with torch.device("meta"):
        net = vb.zoo.create(name)
    return default_precision(dissect(net, (3, size, size)).graph, "cpu", machine)


def test_the_rule() -> None:
    assert precision("resnet18", 64) == "bf16"
    assert precision("resnet20", 32) == "bf16"
    assert precision("resnet18", 64, WITHOUT) == "fp32"
    assert precision("resnet18", 16) == "fp32", "stage 4 strides over a single pixel"


def test_mostly_depthwise_networks_stay_in_fp32() -> None:
    depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU())
    dense = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
    for net, expected in ((depthwise, "fp32"), (dense, "bf16")):
        graph = dissect(net, (8, 16, 16)).graph
        assert default_precision(graph, "cpu", WITH_BF16) == expected


def test_bf16_that_is_asked_for_where_it_is_not_safe_is_refused(tmp_path: Path) -> None:
    recipe = Recipe.load(
        "scratch-small", model="resnet18", image_size=16, precision="bf16", device="cpu"
    )
    with pytest.raises(VertebraError, match=r"not safe .* 16 pixels: .* stages.2"):
        vb.train.fit(recipe, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def fill_freed_memory() -> None:
    """What the allocator hands out next holds NaN, so that reading it unwritten shows."""
    for exponent in range(10, 23, 2):
        for dtype in (torch.bfloat16, torch.float32):
            torch.full((1 << exponent,), torch.nan, dtype=dtype)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_gradients_that_the_rule_lets_through_are_right(
    kernel: int, layout: torch.memory_format
) -> None:
    """Shapes that the rule calls safe have the float32 gradient, whatever memory held before."""
    checked = 0
    for stride in (1, 2, 4):
        for size in ((1, 1), (1, 2), (2, 2), (3, 3), (4, 4), (1, 8), (8, 8)):
            conv = nn.Conv2d(128, 256, kernel, stride, kernel // 2).to(memory_format=layout)
            if unsafe_in_bf16(dissect(conv, (128, *size)).graph) is not None:
                continue
            image = torch.randn(4, 128, *size).contiguous(memory_format=layout)
            image.requires_grad_()
            out = F.conv2d(image, conv.weight, None, stride, kernel // 2)
            upper = torch.randn_like(out)
            expected = torch.autograd.grad(out, (image, conv.weight), upper)
            for _ in range(3):
                fill_freed_memory()
                with torch.autocast("cpu", torch.bfloat16):
                    out = F.conv2d(image, conv.weight, None, stride, kernel // 2)
                found = torch.autograd.grad(out, (image, conv.weight), upper.to(out.dtype))
                for one, other in zip(found, expected, strict=True):
                    limit = 0.05 * float(other.abs().max())
                    torch.testing.assert_close(one, other, atol=limit, rtol=0)
            checked += 1
    assert checked >= 3
