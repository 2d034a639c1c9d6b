"""Weights that fit but for their ends: other classes, other input channels, another image size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vertebra.zoo.registry import family_of

if TYPE_CHECKING:
    from torch import Tensor

    from vertebra.nn import Backbone


def adapted(
    net: Backbone, state_dict: Mapping[str, Tensor], resize: bool = True
) -> tuple[dict[str, Tensor], list[str]]:
    """(the weights, in our names and changed to fit ``net``, one sentence on each change).

    Without ``resize`` the weights are known to be for images of this size.
    """
    state = dict(state_dict)
    notes: list[str] = []
    _auxiliaries(net, state, notes)
    _classes(net, state, notes)
    _channels(net, state, notes)
    if resize:
        notes += family_of(net.name).resize(net, state)
    _numbers(state, notes)
    return state, notes


def _auxiliaries(net: Backbone, state: dict[str, Tensor], notes: list[str]) -> None:
    if not net.aux:
        for name in [name for name in state if name.startswith("aux.")]:
            del state[name]
    elif not any(name.startswith("aux.") for name in state):
        own = net.state_dict()
        state.update({name: own[name] for name in own if name.startswith("aux.")})
        notes.append(
            f"the weights have no auxiliary heads: those of {net.name} keep their initial values"
        )


def classes_of(net: Backbone, state: Mapping[str, Tensor]) -> int:
    """Width of the last layer of weights in our names; 0 where they have none."""
    last = _last_layers(net)
    return next((len(state[name]) for name in state if name.startswith(last)), 0)


def _last_layers(net: Backbone) -> tuple[str, ...]:
    return tuple(f"{path}." for path in net.classifiers())


def _classes(net: Backbone, state: dict[str, Tensor], notes: list[str]) -> None:
    """Where the classes differ, the last layers keep their initial values."""
    own, last = net.state_dict(), _last_layers(net)
    there = classes_of(net, state)
    if there == net.num_classes:
        return
    for name in {**own, **state}:
        if name.startswith(last):
            state.pop(name, None)
            if name in own:
                state[name] = own[name]
    if net.num_classes:
        had = f"{there} classes" if there else "no classes"
        notes.append(
            f"the weights have {had} and this network {net.num_classes}: its last layer keeps its "
            f"initial values"
        )


def _channels(net: Backbone, state: dict[str, Tensor], notes: list[str]) -> None:
    for path in net.input_layers():
        name = f"{path}.weight"
        if name not in state:
            continue
        there, here = state[name].shape[1], net.get_parameter(name).shape[1]
        if there == here:
            continue
        state[name] = adapt_input(state[name], here)
        how = "summed" if here == 1 else "repeated and rescaled"
        notes.append(
            f"the weights take {there} channels and this network {here}: the kernels of its first "
            f"layer are {how}"
        )


def _numbers(state: Mapping[str, Tensor], notes: list[str]) -> None:
    """Files of a body alone fill the head with NaN, as torchvision's IMAGENET1K_FEATURES of VGG."""
    odd = [
        name
        for name, value in state.items()
        if value.is_floating_point() and not bool(value.isfinite().all())
    ]
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        notes.append(f"the weights hold values that are no numbers, in {', '.join(odd[:3])}{more}")


def adapt_input(weight: Tensor, in_chans: int) -> Tensor:
    """First-layer weights (out, channels, h, w) for another number of input channels.

    One channel: the sum over the channels, which gives for x what (x, x, x) gave. More: repeated in
    turn and scaled by channels / in_chans, so that equal channels keep the sum.
    """
    channels = weight.shape[1]
    if in_chans == 1:
        return weight.sum(dim=1, keepdim=True)
    repeats = -(-in_chans // channels)
    return weight.repeat(1, repeats, 1, 1)[:, :in_chans] * (channels / in_chans)
