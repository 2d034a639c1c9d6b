"""Files of weights: reading any that holds nothing but tensors, writing ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertebra.core import Preprocessing, VertebraError
from vertebra.zoo.foreign import batch_norm

if TYPE_CHECKING:
    from torch import Tensor

    from vertebra.nn import Backbone

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
# What the training scripts of torchvision, timm and others call averaged weights.
AVERAGED = frozenset({"model_ema", "state_dict_ema", "ema", "ema_state_dict"})
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
    network that it was saved from; ``notes`` are what whoever loads them should know.
    """

    origin: str
    state_dict: Mapping[str, Tensor]
    source: str | None
    preprocessing: Preprocessing | None = None
    saved: Saved | None = None
    notes: tuple[str, ...] = ()


def read_weights(path: Path) -> Pretrained:
    """The weights in a ``.safetensors`` file or one that ``torch.save`` wrote.

    Raises:
        VertebraError: there is no such file, or it holds more than tensors, or none.
    """
    if not path.is_file():
        raise VertebraError(f"there is no file of weights at {path}")
    if path.suffix == ".safetensors":
        return _from_safetensors(path)
    content = _unpickled(path)
    return Pretrained(
        str(path), _tensors(path, content), source=None, notes=tuple(_averaged(path, content))
    )


def save_weights(net: Backbone, path: str | Path) -> None:
    """Write the weights to a ``.safetensors`` file with what belongs to them.

    ``create(..., weights=path)`` then restores the preprocessing and batch norm's eps too.

    Raises:
        VertebraError: the name ends in something else, or its folder does not exist.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise VertebraError(f"save_weights writes .safetensors files, not {path.name}")
    if not path.parent.is_dir():
        raise VertebraError(f"there is no folder {path.parent} to save weights in")
    from safetensors.torch import save

    from vertebra.core import replace_file

    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    replace_file(path, save(tensors, metadata=weights_metadata(net)))


def weights_metadata(net: Backbone) -> dict[str, str]:
    """What a safetensors file says of the network whose weights it holds."""
    about = {
        "schema": _METADATA,
        "model": net.name,
        "input_size": list(net.input_size),
        "pool": net.pool_name,
        "preprocessing": asdict(net.preprocessing),
        "norm": batch_norm(net),
    }
    return {"vertebra": json.dumps(about)}


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
    except OSError as error:
        raise VertebraError(f"{path} cannot be read: {error}") from error
    except Exception as error:  # a damaged pickle may raise anything; the cause stays attached
        reason = (str(error).strip() or "it is empty").splitlines()[0]
        raise VertebraError(f"{path} is no PyTorch file: {reason}") from error


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
    # n_averaged is torch.optim.swa_utils.AveragedModel's count, beside the weights in "module.".
    return {_unwrapped(str(key)): value for key, value in content.items() if key != "n_averaged"}


def _averaged(path: Path, content: object) -> list[str]:
    """A sentence where training scripts kept averaged weights beside those that are taken."""
    names = sorted(AVERAGED & content.keys()) if isinstance(content, Mapping) else []
    if not names:
        return []
    return [
        f"{path} holds averaged weights too, as '{names[0]}'; these are the ones that were trained"
    ]


def _is_quantised(name: str, value: Tensor) -> bool:
    return not value.is_floating_point() and value.ndim > 1 and "index" not in name


def _unwrapped(name: str) -> str:
    """Without what ``torch.compile`` and ``DataParallel`` put before every name."""
    return name.removeprefix("_orig_mod.").removeprefix("module.").removeprefix("_orig_mod.")
