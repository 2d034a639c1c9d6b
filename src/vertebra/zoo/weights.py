"""Pretrained weights: finding them by a short name or in a file, and fitting them to a network.

``"IMAGENET1K_V1"``, ``"DEFAULT"`` and the like are torchvision's, ``"timm:a1_in1k"`` timm's; both
libraries download and cache. Anything else is the path of a ``.safetensors`` or ``.pth`` file.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra.core import Notice, Preprocessing, VertebraError
from vertebra.zoo import downloads
from vertebra.zoo.adapt import adapted, classes_of
from vertebra.zoo.foreign import (
    apply_settings,
    batch_norm,
    load_strictly,
    rename,
    set_batch_norm,
)
from vertebra.zoo.registry import family_of

if TYPE_CHECKING:
    from torch import Tensor

    from vertebra.nn import Backbone

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
_METADATA = "vertebra.weights/1"


@dataclass(frozen=True)
class Saved:
    """What a file of ours says. ``norm``: (eps, momentum) of all batch norms, if they share it."""

    model: str
    input_size: tuple[int, ...]
    pool: str
    norm: tuple[float, float] | None


@dataclass(frozen=True)
class Pretrained:
    """Weights as they were found.

    ``source`` is the library whose names they have, "" for ours, None where that has to be found
    out. ``preprocessing`` is None where unknown; ``saved`` is what a file of ours says of the
    network that it was saved from.
    """

    origin: str
    state_dict: Mapping[str, Tensor]
    source: str | None
    preprocessing: Preprocessing | None = None
    saved: Saved | None = None


def find(name: str, spec: str) -> Pretrained:
    """The weights that ``spec`` names for the architecture ``name``.

    Raises:
        VertebraError: no such weights or file, no network, or a file that holds more than tensors.
    """
    if spec.startswith("timm:"):
        return Pretrained(*downloads.from_timm(name, spec.removeprefix("timm:")))
    if spec.endswith(SUFFIXES):
        return _from_file(Path(spec))
    if "/" in spec or Path(spec).exists():
        raise VertebraError(f"a file of weights must end in {', '.join(SUFFIXES)}, got {spec}")
    return Pretrained(*downloads.from_torchvision(name, spec))


def load(net: Backbone, pretrained: Pretrained, any_classes: bool = False) -> None:
    """Fit the weights to ``net`` and load them, strictly; what had to be adapted is told.

    With ``any_classes`` the network takes as many classes as the weights have.
    ``net.notes`` keeps each adaptation as one sentence, and each is a :class:`Notice` too.

    Raises:
        VertebraError: names or shapes do not fit.
    """
    saved, notes = pretrained.saved, []
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


def save_weights(net: Backbone, path: str | Path) -> None:
    """Write the weights to a ``.safetensors`` file with what belongs to them.

    ``create(..., weights=path)`` then restores the preprocessing and batch norm's eps too.
    """
    from safetensors.torch import save

    from vertebra.core import replace_file

    about = {
        "schema": _METADATA,
        "model": net.name,
        "input_size": list(net.input_size),
        "pool": net.pool_name,
        "preprocessing": asdict(net.preprocessing),
        "norm": batch_norm(net),
    }
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    replace_file(Path(path), save(tensors, metadata={"vertebra": json.dumps(about)}))


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


def _from_file(path: Path) -> Pretrained:
    if not path.is_file():
        raise VertebraError(f"there is no file of weights at {path}")
    if path.suffix == ".safetensors":
        return _from_safetensors(path)
    return Pretrained(str(path), _tensors(path, _unpickled(path)), source=None)


def _from_safetensors(path: Path) -> Pretrained:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise VertebraError(f"{path} is no whole safetensors file: {error}") from None
    if "vertebra" not in metadata:
        return Pretrained(str(path), state, source=None)
    try:
        preprocessing, saved = _parsed(json.loads(metadata["vertebra"]))
    except (ValueError, KeyError, TypeError) as error:
        raise VertebraError(f"{path} says in no way known here what it holds ({error!r})") from None
    return Pretrained(str(path), state, "", preprocessing, saved)


def _parsed(about: Mapping[str, Any]) -> tuple[Preprocessing, Saved]:
    if about["schema"] != _METADATA:
        raise ValueError(about["schema"])
    values = about["preprocessing"]
    mean, std = tuple(values["mean"]), tuple(values["std"])
    norm = tuple(about["norm"]) if about["norm"] else None
    saved = Saved(about["model"], tuple(about["input_size"]), about["pool"], norm)
    return Preprocessing(**{**values, "mean": mean, "std": std}), saved


def _unpickled(path: Path) -> object:
    """What a PyTorch file holds, as long as that is tensors and plain containers."""
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch says the same for a pickle that would run code and for one that is damaged.
        reason = str(error).splitlines()[0].split(". ")[0]
        raise VertebraError(
            f"{path} is not loaded: it is damaged, or holds more than tensors, which could run "
            f"code ({reason}); save its state_dict() alone"
        ) from None
    except Exception as error:  # a damaged pickle may raise anything
        reason = (str(error).strip() or "it is empty").splitlines()[0]
        raise VertebraError(f"{path} is no PyTorch file: {reason}") from None


def _tensors(path: Path, content: object) -> dict[str, Tensor]:
    """The state dict, also within what training scripts wrap around it."""
    import torch

    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        what = f"a {type(content).__name__}" if content else "nothing"
        raise VertebraError(f"{path} holds no state dict but {what}")
    odd = [name for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise VertebraError(f"{path} is no state dict: its entry '{odd[0]}' is no tensor")
    whole = [name for name, value in content.items() if _is_quantised(name, value)]
    if whole:
        raise VertebraError(f"{path} holds whole numbers in '{whole[0]}', not weights")
    return {_unwrapped(str(name)): value for name, value in content.items()}


def _is_quantised(name: str, value: Tensor) -> bool:
    return not value.is_floating_point() and value.ndim > 1 and "index" not in name


def _unwrapped(name: str) -> str:
    """Without what ``torch.compile`` and ``DataParallel`` put before every name."""
    return name.removeprefix("_orig_mod.").removeprefix("module.").removeprefix("_orig_mod.")
