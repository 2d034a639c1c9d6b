"""Pretrained weights: finding them by a short name or in a file, and fitting them to a network.

``"IMAGENET1K_V1"``, ``"DEFAULT"`` and the like are torchvision's, ``"timm:a1_in1k"`` timm's; both
libraries download and cache. Anything else is the path of a ``.safetensors`` or ``.pth`` file.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vertebra.core import Notice, VertebraError
from vertebra.zoo import downloads
from vertebra.zoo.adapt import adapted, classes_of
from vertebra.zoo.foreign import apply_settings, load_strictly, rename, set_batch_norm
from vertebra.zoo.registry import family_of
from vertebra.zoo.weight_files import SUFFIXES, Pretrained, Saved, read_weights

if TYPE_CHECKING:
    from torch import Tensor

    from vertebra.nn import Backbone


def find(name: str, spec: str) -> Pretrained:
    """The weights that ``spec`` names for the architecture ``name``.

    Raises:
        VertebraError: no such weights or file, no network, or a file that holds more than tensors.
    """
    if spec.startswith("timm:"):
        return Pretrained(*downloads.from_timm(name, spec.removeprefix("timm:")))
    if spec.endswith(SUFFIXES):
        return _as_published(name, Path(spec).name, read_weights(Path(spec)))
    if "/" in spec or Path(spec).exists():
        raise VertebraError(f"a file of weights must end in {', '.join(SUFFIXES)}, got {spec}")
    return Pretrained(*downloads.from_torchvision(name, spec))


def _as_published(name: str, filename: str, found: Pretrained) -> Pretrained:
    """With the preprocessing of the published weights whose file has this name, if there are."""
    known = None if found.saved else downloads.published_file(name, filename)
    if known is None:
        return found
    whose, preprocessing = known
    note = f"{found.origin} is called as {whose} are: net.preprocessing is theirs"
    return replace(found, preprocessing=preprocessing, notes=(*found.notes, note))


def load(net: Backbone, pretrained: Pretrained, any_classes: bool = False) -> None:
    """Fit the weights to ``net`` and load them, strictly; what had to be adapted is told.

    With ``any_classes`` the network takes as many classes as the weights have.
    ``net.notes`` keeps each adaptation as one sentence, and each is a :class:`Notice` too.

    Raises:
        VertebraError: names or shapes do not fit.
    """
    saved, notes = pretrained.saved, [*pretrained.notes]
    if saved is not None:
        notes += _as_saved(net, saved, pretrained.origin)
    source, state = _ours(net, pretrained)
    if any_classes:
        notes += _with_classes(net, classes_of(net, state))
    of_this_size = saved is not None and saved.input_size == net.input_size
    state, more = adapted(net, state, resize=not of_this_size)
    notes += more
    load_strictly(net, state, f"weights ({pretrained.origin})")
    if source:
        apply_settings(net, source)
    elif saved is not None and saved.norm is not None:
        set_batch_norm(net, *saved.norm)
    if pretrained.preprocessing is not None:
        channels, size = net.input_size[:2]
        net.preprocessing = pretrained.preprocessing.for_channels(channels).for_size(size)
    else:
        notes.append(
            f"{pretrained.origin} does not say how its images were prepared: "
            f"net.preprocessing is the architecture's usual one"
        )
    net.notes = tuple(notes)
    for note in notes:
        warnings.warn(note, Notice, stacklevel=3)


def _as_saved(net: Backbone, saved: Saved, origin: str) -> list[str]:
    """Make ``net`` what was saved, as far as weights alone do not tell.

    Raises:
        VertebraError: it was another architecture, perhaps with weights of the same shapes.
    """
    if saved.model != net.name:
        raise VertebraError(f"{origin} holds weights of {saved.model}, not of {net.name}")
    if saved.pool == net.pool_name:
        return []
    net.reset_head(net.num_classes, pool=saved.pool)
    return [f"{origin} was saved with '{saved.pool}' pooling, which this network has now too"]


def _with_classes(net: Backbone, classes: int) -> list[str]:
    if classes in (0, net.num_classes):
        return []
    net.reset_head(classes)
    return [f"the weights have {classes} classes, and so has this network"]


def _ours(net: Backbone, pretrained: Pretrained) -> tuple[str, dict[str, Tensor]]:
    """(source, the weights under our names); a file's source is the one whose names fit best."""
    if pretrained.source is not None:
        return pretrained.source, _renamed(net, pretrained.state_dict, pretrained.source)
    wanted = net.state_dict().keys()
    candidates = {
        source: _renamed(net, pretrained.state_dict, source)
        for source in ("", *family_of(net.name).sources)
    }
    best = max(candidates, key=lambda source: len(wanted & candidates[source].keys()))
    return best, candidates[best]


def _renamed(net: Backbone, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    return rename(net, state, source) if source else dict(state)
