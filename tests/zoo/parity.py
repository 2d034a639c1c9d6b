"""Does a network of ours compute what another library's does? Asked in float64, of every number.

Freshly initialised networks hide errors: with norms at their start an eps, a running mean or a
swapped scale changes next to nothing, a LayerScale of 1e-6 hides a whole network. So every
parameter and buffer of the reference is redrawn first, and ours loads the reference's state dict.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from vertebra.nn import Backbone, DropPath
from vertebra.zoo import create, load_foreign
from vertebra.zoo.foreign import rename

MAP_TOLERANCE = 1e-9
GRADIENT_TOLERANCE = 1e-7


@dataclass(frozen=True)
class Oracle:
    """The same network in another library.

    ``maps`` are the paths of the modules there whose outputs are our stages' maps; ``as_map`` turns
    such an output into (N, C, H, W). ``outputs`` takes what the network returns in training mode to
    the logits and the auxiliary logits, in our order. ``given`` and ``ours_given`` are arguments
    for the two constructors. ``change`` makes of the other library's network one that it lacks.
    """

    ours: str
    library: str
    theirs: str
    maps: Sequence[str]
    size: int = 64
    as_map: Callable[[Tensor], Tensor] = lambda x: x
    outputs: Callable[[Any], tuple[Tensor, ...]] = lambda logits: (logits,)
    given: Mapping[str, Any] = field(default_factory=dict)
    ours_given: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[nn.Module], None] = lambda net: None

    def __str__(self) -> str:
        return f"{self.ours}-{self.library}"


@dataclass
class Pair:
    """Our network and another library's, with the same weights."""

    oracle: Oracle
    ours: Backbone
    theirs: nn.Module

    def statistics(self) -> dict[str, Tensor]:
        """The state of the other library's network under our names."""
        return rename(self.ours, self.theirs.state_dict(), self.oracle.library)


# Numbers drawn for one tensor; a larger one repeats them. A prime, so that no row of a weight is
# like another one, and an exchange of any two dimensions shows.
_DRAWN = 1_000_003


def redraw(net: nn.Module, seed: int = 0) -> None:
    """Draw every floating parameter and buffer anew, wide enough that each one matters."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor: Tensor, scale: float) -> None:
        if tensor.numel() <= _DRAWN:
            tensor.normal_(generator=generator).mul_(scale)
            return
        block = torch.randn(_DRAWN, dtype=tensor.dtype, generator=generator).mul_(scale)
        copies = -(-tensor.numel() // _DRAWN)
        tensor.copy_(block.repeat(copies)[: tensor.numel()].view_as(tensor))

    with torch.no_grad():
        for module in net.modules():
            for name, tensor in _own_tensors(module):
                if name == "num_batches_tracked":
                    tensor.zero_()
                elif not tensor.is_floating_point():
                    continue  # a table, such as Swin's relative positions
                elif name == "running_var" or (name == "weight" and tensor.ndim == 1):
                    tensor.uniform_(0.5, 1.5, generator=generator)
                elif name in ("weight", "in_proj_weight"):
                    normal(tensor, tensor[0].numel() ** -0.5)
                elif name in ("layer_scale", "gamma"):
                    normal(tensor, 1.0)
                else:
                    normal(tensor, 0.1)


def _own_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]


def make_theirs(oracle: Oracle) -> nn.Module:
    """The other library's network in float64, redrawn."""
    theirs = _without_numbers(lambda: _foreign(oracle))
    redraw(theirs)
    _without_chance(theirs)
    return theirs.requires_grad_(False)


def make_pair(oracle: Oracle, weights: Mapping[str, Tensor] | None = None) -> Pair:
    """Both networks in float64, redrawn or with the given weights of theirs.

    Ours has no numbers but those that it loads.
    """
    theirs = make_theirs(oracle) if weights is None else _loaded(oracle, weights)
    ours = _without_numbers(lambda: create(oracle.ours, seed=0, **oracle.ours_given))
    # Whatever loading misses stays NaN and cannot agree with anything.
    with torch.no_grad():
        for tensor in ours.state_dict().values():
            tensor.fill_(torch.nan if tensor.is_floating_point() else -1)
    load_foreign(ours, theirs.state_dict(), oracle.library)
    _without_chance(ours)
    return Pair(oracle, ours.requires_grad_(False), theirs)


def _loaded(oracle: Oracle, weights: Mapping[str, Tensor]) -> nn.Module:
    theirs = _without_numbers(lambda: _foreign(oracle))
    theirs.load_state_dict(weights)
    _without_chance(theirs)
    return theirs.requires_grad_(False)


def _foreign(oracle: Oracle) -> nn.Module:
    if oracle.library == "timm":
        net: nn.Module = timm.create_model(oracle.theirs, pretrained=False, **oracle.given)
    else:
        net = torchvision.models.get_model(oracle.theirs, **oracle.given)
    oracle.change(net)
    return net


def _without_numbers(build: Callable[[], Any]) -> Any:
    """Built on meta, which draws nothing, unless it holds tables that are computed while built."""
    with torch.device("meta"):
        net = build()
    if any(not b.is_floating_point() and b.ndim for b in net.buffers()):
        return build().double()
    return net.double().to_empty(device="cpu")


def _without_chance(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, DropPath):
            module.rate = 0.0
        elif isinstance(module, torchvision.ops.StochasticDepth):
            module.p = 0.0


def assert_close(what: str, ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """``ours`` differs from ``theirs`` by at most ``tolerance`` of the largest value."""
    assert ours.shape == theirs.shape, f"{what}: {tuple(ours.shape)} for {tuple(theirs.shape)}"
    largest = theirs.abs().max().item()
    assert 0 < largest < float("inf"), f"{what}: the reference's largest value is {largest}"
    difference = (ours - theirs).abs().max().item()
    assert difference <= tolerance * largest, f"{what}: off by {difference / largest:.1e}"


def assert_parity(pair: Pair) -> None:
    """Every map, the logits, the gradient and the running statistics agree."""
    size = pair.oracle.size
    x = torch.randn(2, 3, size, size, dtype=torch.float64, generator=_generator(1))
    assert_same_maps(pair, x)
    assert_same_gradient(pair, x)
    assert_same_statistics(pair)


def assert_same_maps(pair: Pair, x: Tensor) -> None:
    """In evaluation mode: each stage's output, and the logits."""
    with torch.no_grad():
        maps, logits = _reference_maps(pair, x)
        ours = pair.ours.eval()
        stages = ours.features(x)
        assert len(stages) == len(maps)
        for index, stage in enumerate(stages):
            assert_close(f"stage {index}", stage, maps[index], MAP_TOLERANCE)
        assert_close("logits", ours(x), logits, MAP_TOLERANCE)


def assert_same_gradient(pair: Pair, x: Tensor) -> None:
    """In training mode: the gradient of a random mix of logits with respect to the input."""
    ours, theirs = pair.ours.train(), pair.theirs.train()

    def all_ours(x: Tensor) -> tuple[Tensor, ...]:
        outputs = ours.forward_train(x)
        return outputs.logits, *outputs.aux

    gradients = (
        _input_gradient(all_ours, x),
        _input_gradient(lambda x: pair.oracle.outputs(theirs(x)), x),
    )
    assert_close("gradient", *gradients, GRADIENT_TOLERANCE)


def assert_same_statistics(pair: Pair) -> None:
    """What the forward in training mode left in the norms: nothing else shows their momentum."""
    theirs, ours = pair.statistics(), pair.ours.state_dict()
    assert set(ours) == set(theirs)
    learnt = dict(pair.ours.named_parameters())
    for name, tensor in theirs.items():
        if name in learnt:
            assert torch.equal(ours[name], tensor), name
        else:
            assert_close(name, ours[name].double(), tensor.double(), MAP_TOLERANCE)


def _reference_maps(pair: Pair, x: Tensor) -> tuple[list[Tensor], Tensor]:
    maps: list[Tensor] = []
    net = pair.theirs.eval()
    handles = [
        net.get_submodule(part).register_forward_hook(
            lambda _module, _inputs, output: maps.append(pair.oracle.as_map(output).clone())
        )
        for part in pair.oracle.maps
    ]
    logits = net(x)
    for handle in handles:
        handle.remove()
    return maps, logits


def _input_gradient(net: Callable[[Tensor], tuple[Tensor, ...]], x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    total = torch.zeros((), dtype=x.dtype)
    for place, logits in enumerate(net(x)):
        mix = torch.randn(logits.shape, dtype=logits.dtype, generator=_generator(2 + place))
        total = total + (logits * mix).sum()
    (gradient,) = torch.autograd.grad(total, x)
    return gradient


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
