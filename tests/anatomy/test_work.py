"""Work by kind, against what hooks on the modules of torchvision's networks see."""

from collections import Counter

import pytest
import torch
import torchvision
from torch import Tensor, nn

from vertebra.anatomy import dissect, work


def _seen(net: nn.Module, images: Tensor) -> dict[str, Counter[str]]:
    """MACs, bytes of weights and calls of convolutions and linear layers, by kind."""
    found: dict[str, Counter[str]] = {"macs": Counter(), "weights": Counter(), "calls": Counter()}

    def hook(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.weight
        kind = "linear"
        if isinstance(module, nn.Conv2d):
            kind = "pointwise" if module.kernel_size == (1, 1) else "convolution"
            if module.groups > 1:
                kind = "depthwise" if module.groups == module.in_channels else "grouped"
            macs = output.numel() * weight[0].numel()
        else:
            macs = output.numel() * module.in_features
        found["macs"][kind] += macs
        found["weights"][kind] += 4 * sum(p.numel() for p in module.parameters())
        found["calls"][kind] += 1

    kinds = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    handles = [module.register_forward_hook(hook) for module in kinds]
    with torch.no_grad():
        net(images)
    for handle in handles:  # dissecting would count again
        handle.remove()
    return found


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "resnext50_32x4d", "vgg11_bn"])
def test_convolutions_and_linear_layers_are_told_apart(name: str) -> None:
    net = torchvision.models.get_model(name, weights=None).eval()
    seen = _seen(net, torch.zeros(2, 3, 64, 64))
    done = work(dissect(net, (3, 64, 64), batch=2))
    for kind, macs in seen["macs"].items():
        assert done[kind].macs == macs, kind
        assert done[kind].weights == seen["weights"][kind], kind
        assert done[kind].operations == seen["calls"][kind], kind


def test_attention_is_a_kind_of_its_own_and_nothing_is_lost() -> None:
    net = torchvision.models.vit_b_32(weights=None).eval()
    body = dissect(net, (3, 224, 224))
    done = work(body)
    tokens, width, depth = 50, 768, 12
    assert done["attention"].macs == depth * 2 * tokens * tokens * width
    assert done["layer_norm"].operations == 2 * depth + 1
    assert done["exponential"].operations == depth  # GELUs: softmax is inside of attention
    assert sum(part.macs for part in done.values()) == body.macs
    moved = sum(part.bytes_moved for part in done.values())
    assert 0.99 * body.bytes_moved < moved <= body.bytes_moved


def test_what_computes_exponentials_is_told_apart_from_what_does_not() -> None:
    net = torchvision.models.efficientnet_b0(weights=None).eval()
    seen: Counter[str] = Counter()

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kind = "batch_norm" if isinstance(module, nn.BatchNorm2d) else "exponential"
        seen[kind] += 1
        # Each reads a map and writes one; the parameters of norms are held apart below.
        seen[f"bytes of {kind}"] += 4 * (inputs[0].numel() + output.numel())

    kinds = nn.BatchNorm2d | nn.SiLU | nn.Sigmoid
    handles = [m.register_forward_hook(hook) for m in net.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        net(torch.zeros(2, 3, 64, 64))
    for handle in handles:
        handle.remove()
    done = work(dissect(net, (3, 64, 64), batch=2))
    for kind in ("batch_norm", "exponential"):
        assert done[kind].operations == seen[kind], kind
        moved = done[kind].bytes_moved - done[kind].weights
        assert moved == pytest.approx(seen[f"bytes of {kind}"], rel=0.02), kind
