"""Does a network of ours compute what torchvision's does? Asked in float64, of every number.

Freshly initialised networks hide errors: with norms at their start an eps, a running mean or a
swapped scale changes next to nothing. So every parameter and buffer of the reference is redrawn
first, and ours loads the reference's state dict.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn

from vertebra.nn import Backbone
from vertebra.zoo import create, load_foreign
from vertebra.zoo.registry import load_families

MAP_TOLERANCE = 1e-9
GRADIENT_TOLERANCE = 1e-7
SIZE = 64


@dataclass
class Pair:
    """Our network and torchvision's, with the same weights."""

    ours: Backbone
    theirs: nn.Module


def redraw(net: nn.Module, seed: int = 0) -> None:
    """Draw every floating parameter and buffer anew, wide enough that each one matters."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor: Tensor, scale: float) -> None:
        tensor.normal_(generator=generator).mul_(scale)

    with torch.no_grad():
        for module in net.modules():
            for name, tensor in _own_tensors(module):
                if name == "num_batches_tracked":
                    tensor.zero_()
                elif not tensor.is_floating_point():
                    continue  # a table, such as LeNet's connections
                elif name == "running_var" or (name == "weight" and tensor.ndim == 1):
                    tensor.uniform_(0.5, 1.5, generator=generator)
                elif name == "weight":
                    normal(tensor, tensor[0].numel() ** -0.5)
                else:
                    normal(tensor, 0.1)


def _own_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]


def make_pair(name: str) -> Pair:
    """Both networks in float64. Ours has no numbers but those that it loads."""
    with torch.device("meta"):
        theirs, ours = torchvision.models.get_model(name), create(name, seed=0)
    theirs, ours = (net.double().to_empty(device="cpu") for net in (theirs, ours))
    redraw(theirs)
    # Whatever loading misses stays NaN and cannot agree with anything.
    with torch.no_grad():
        for tensor in (*ours.parameters(), *ours.buffers()):
            tensor.fill_(torch.nan if tensor.is_floating_point() else -1)
    load_foreign(ours, theirs.state_dict(), "torchvision")
    for net in (theirs, ours):
        net.requires_grad_(False)
    return Pair(ours, theirs)


def assert_close(what: str, ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """``ours`` differs from ``theirs`` by at most ``tolerance`` of the largest value."""
    assert ours.shape == theirs.shape, f"{what}: {tuple(ours.shape)} for {tuple(theirs.shape)}"
    largest = theirs.abs().max().item()
    assert 0 < largest < float("inf"), f"{what}: the reference's largest value is {largest}"
    difference = (ours - theirs).abs().max().item()
    assert difference <= tolerance * largest, f"{what}: off by {difference / largest:.1e}"


def assert_parity(pair: Pair, size: int = SIZE) -> None:
    """Every map, the logits, the gradient and the running statistics agree."""
    x = torch.randn(2, 3, size, size, dtype=torch.float64, generator=_generator(1))
    assert_same_maps(pair, x)
    assert_same_gradient(pair, x)
    assert_same_statistics(pair)


def assert_same_maps(pair: Pair, x: Tensor) -> None:
    """In evaluation mode: the stem's output, each stage's, and the logits."""
    with torch.no_grad():
        maps, logits = _reference_maps(pair.theirs.eval(), x)
        ours = pair.ours.eval()
        assert_close("stem", ours.stem(x), maps[0], MAP_TOLERANCE)
        stages = ours.features(x)
        assert len(stages) == len(maps) - 1
        for index, stage in enumerate(stages):
            assert_close(f"stage {index}", stage, maps[index + 1], MAP_TOLERANCE)
        assert_close("logits", ours(x), logits, MAP_TOLERANCE)


def assert_same_gradient(pair: Pair, x: Tensor) -> None:
    """In training mode: the gradient of a random mix of logits with respect to the input."""
    ours, theirs = (_input_gradient(net.train(), x) for net in (pair.ours, pair.theirs))
    assert_close("gradient", ours, theirs, GRADIENT_TOLERANCE)


def assert_same_statistics(pair: Pair) -> None:
    """What the forward in training mode left in the norms: nothing else shows their momentum."""
    rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    rename = load_families()["resnet"].renames["torchvision"]
    theirs, ours = rename(pair.theirs.state_dict()), pair.ours.state_dict()
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert_close(name, ours[name].double(), tensor.double(), MAP_TOLERANCE)


def _reference_maps(net: nn.Module, x: Tensor) -> tuple[list[Tensor], Tensor]:
    maps: list[Tensor] = []
    parts = ("maxpool", "layer1", "layer2", "layer3", "layer4")
    handles = [
        net.get_submodule(part).register_forward_hook(
            lambda _module, _inputs, output: maps.append(output.clone())
        )
        for part in parts
    ]
    logits = net(x)
    for handle in handles:
        handle.remove()
    return maps, logits


def _input_gradient(net: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    logits = net(x)
    mix = torch.randn(logits.shape, dtype=logits.dtype, generator=_generator(2))
    (gradient,) = torch.autograd.grad((logits * mix).sum(), x)
    return gradient


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
