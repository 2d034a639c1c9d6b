"""Where the numbers went wrong: the first tensor and layer that is no longer finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def spoilt_before(net: nn.Module, optimizer: Optimizer, images: Tensor) -> str | None:
    """What was not finite before the forward of a step whose loss is not, as the end of a sentence.

    Looked for in the order in which a step meets them: the images; the weights, where the step
    before left them non-finite (then its gradients, as the optimiser's own averages remember them:
    a gradient spoils those of all layers before it, so the last of them in the order of the network
    is where it began).

    Args:
        net: the network, in the mode and with the weights that gave that loss.
        optimizer: its optimiser.
        images: what it was given.
    """
    if not _finite(images):
        return "the images themselves are not finite"
    spoilt = [name for name, value in net.named_parameters() if not _finite(value)]
    return _of_weights(net, optimizer, spoilt) if spoilt else None


def spoilt_by(net: nn.Module, forward: Callable[[], object]) -> str:
    """What went non-finite in a forward on finite images and weights, as the end of a sentence.

    Layer by layer, the first that gives something non-finite of finite inputs. ``forward`` runs the
    network once more as it was run.
    """
    buffers = [name for name, value in net.named_buffers() if not _finite(value)]
    found = _of_layers(net, forward)
    if found is None and buffers:
        return f"the statistics {buffers[0]} are not finite"
    return found or "every layer's output is finite, the loss of them is not"


def _of_weights(net: nn.Module, optimizer: Optimizer, spoilt: list[str]) -> str:
    remembered = [
        name
        for name, parameter in net.named_parameters()
        if any(not _finite(value) for value in optimizer.state.get(parameter, {}).values())
    ]
    many = f", as {len(spoilt) - 1} more" if len(spoilt) > 1 else ""
    if not remembered:
        return f"the update of the step before left the weights {spoilt[0]} non-finite{many}"
    return (
        f"the gradient of {remembered[-1]} in the step before, the one nearest to the loss; "
        f"{len(spoilt)} of {sum(1 for _ in net.parameters())} weights have gone with it"
    )


def _of_layers(net: nn.Module, forward: Callable[[], object]) -> str | None:
    """The first module that gives something non-finite of finite inputs; innermost ones first."""
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if found or all(_finite(value) for value in _tensors(output)):
                return
            largest = max((_largest(value) for value in _tensors(inputs)), default=0.0)
            found.append(
                f"the output of {name} ({type(module).__name__}), which takes finite numbers "
                f"up to {largest:.3g}"
            )

        return look

    handles = [
        module.register_forward_hook(watch(name)) for name, module in net.named_modules() if name
    ]
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)


def _finite(value: object) -> bool:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return True
    return bool(torch.isfinite(value).all())


def _largest(value: Tensor) -> float:
    return float(value.detach().abs().max()) if value.numel() else 0.0
