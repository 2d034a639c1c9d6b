"""Weights that torchvision or timm fetch and cache, with what these libraries know of them."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from vertebra.core import Preprocessing, VertebraError, unknown
from vertebra.zoo.any_timm import timm_preprocessing
from vertebra.zoo.registry import family_of

if TYPE_CHECKING:
    from torch import Tensor

# (where they come from, state dict, the library, preprocessing)
Found = tuple[str, "Mapping[str, Tensor]", str, Preprocessing]


def from_torchvision(name: str, tag: str) -> Found:
    """Weights by torchvision's own name for them, such as ``IMAGENET1K_V2`` or ``DEFAULT``.

    Raises:
        VertebraError: torchvision has no such network or weights, or there is no network.
    """
    entries = torchvision_entries(name)
    if tag not in entries.__members__:
        raise unknown(f"weights of {name}", tag, entries.__members__)
    choice = entries[tag]
    try:
        state = choice.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        filename = choice.url.rpartition("/")[2]
        raise _unreachable(choice.url, error, filename, _torch_cache()) from None
    return f"torchvision {choice}", state, "torchvision", torchvision_preprocessing(name, choice)


def torchvision_entries(name: str) -> Any:
    """torchvision's enumeration of the weights of one of our architectures.

    Raises:
        VertebraError: torchvision has no such network.
    """
    import torchvision

    family = family_of(name)
    known = name in torchvision.models.list_models(module=torchvision.models)
    if "torchvision" not in family.sources or not known:
        others = " 'timm:TAG' takes timm's," if timm_tags(name) else ""
        raise VertebraError(
            f"torchvision has no weights of {name};{others} a path must end in .safetensors or .pth"
        )
    return torchvision.models.get_model_weights(name)


def torchvision_preprocessing(name: str, choice: Any) -> Preprocessing:
    """The evaluation transform of torchvision weights."""
    transform = choice.transforms()
    mean, std = tuple(transform.mean), tuple(transform.std)
    if family_of(name).variants[name].to_unit_range:
        # The network there maps what was normalised by ImageNet's values to [-1, 1] by itself.
        mean = std = (0.5, 0.5, 0.5)
    return Preprocessing(
        size=transform.crop_size[0],
        resize=transform.resize_size[0],
        mean=mean,
        std=std,
        interpolation=transform.interpolation.value,
    )


def from_timm(name: str, tag: str) -> Found:
    """Weights by timm's tag, such as ``a1_in1k``; or by its full name for another input size.

    Raises:
        VertebraError: timm has no such network or weights, or there is no network.
    """
    import timm

    full = tag if "." in tag else f"{timm_name(name)}.{tag}"
    config = _timm_config(name, full)
    net = timm.create_model(
        full, pretrained=True, pretrained_cfg_overlay={"file": _timm_file(full, config)}
    )
    return f"timm {full}", net.state_dict(), "timm", timm_preprocessing(full, config)


def published_file(name: str, filename: str) -> tuple[str, Preprocessing] | None:
    """(whose weights, their preprocessing) of a file called as published weights are.

    The names are those that the errors without a network give: torchvision's own, and timm's full
    name with the tag. None for any other name.

    Raises:
        VertebraError: they are timm's for another network.
    """
    for choice in _entries_or_none(name):
        if choice.url.rpartition("/")[2] == filename:
            return f"torchvision's {choice}", torchvision_preprocessing(name, choice)
    full = filename.rpartition(".")[0]
    if "." not in full or not timm_tags(name) or not _is_published_by_timm(full):
        return None
    return f"timm's {full}", timm_preprocessing(full, _timm_config(name, full))


def _entries_or_none(name: str) -> Any:
    try:
        return torchvision_entries(name)
    except VertebraError:
        return ()


def _is_published_by_timm(full: str) -> bool:
    import timm

    return bool(timm.list_pretrained(full))


def timm_name(name: str) -> str:
    """timm's name for one of our architectures."""
    row = family_of(name).variants[name]
    return (row.timm or name).partition(".")[0]


def timm_tags(name: str) -> list[str]:
    """The tags of timm's weights for one of our architectures; none where timm lacks it."""
    import timm

    if "timm" not in family_of(name).sources:
        return []
    known = timm.list_pretrained(f"{timm_name(name)}.*")
    return [entry.partition(".")[2] for entry in known]


def _timm_config(name: str, full: str) -> Any:
    import timm

    base, _, tag = full.partition(".")
    tags = timm_tags(name)
    if not tags:
        raise VertebraError(f"timm has no weights for {name}")
    # Other networks of timm's have the same names and shapes and compute something else (other
    # padding, other pooling), so only the same one is taken, perhaps for images of another size.
    if _without_size(base) != _without_size(timm_name(name)):
        raise VertebraError(f"timm's {base} is another network than {name} ({timm_name(name)})")
    known = [entry.partition(".")[2] for entry in timm.list_pretrained(f"{base}.*")]
    if tag not in known:
        raise unknown(f"timm weights of {name}", tag, known)
    return timm.get_pretrained_cfg(full)


def _without_size(name: str) -> str:
    """vit_base_patch16_384 -> vit_base_patch16."""
    return re.sub(r"_\d{3}$", "", name)


def _timm_file(full: str, config: Any) -> str:
    """timm's file, from the hub's cache or the hub."""
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    repository, filename = config.hf_hub_id, config.hf_hub_filename or "model.safetensors"
    cached = try_to_load_from_cache(repository, filename)
    if isinstance(cached, str):
        return cached
    address = f"{constants.ENDPOINT}/{repository}/resolve/main/{filename}"
    try:
        # Asked first, because the hub's client tries for half a minute before it gives up.
        _resolve(address)
        return hf_hub_download(repository, filename)
    except OSError as error:
        raise _unreachable(address, error, f"{full}.safetensors") from None


def _resolve(address: str) -> None:
    proxies = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    if not any(os.environ.get(name) for name in proxies):
        socket.getaddrinfo(urlparse(address).hostname, 443)


def _torch_cache() -> str:
    import torch

    return f"{torch.hub.get_dir()}/checkpoints"


def _unreachable(
    address: str, error: OSError, filename: str, cache: str | None = None
) -> VertebraError:
    """What to do where there is no network. ``cache``: the folder where the file is looked for."""
    reason = getattr(error, "reason", None) or error
    put = f"put it into {cache}, or " if cache else ""
    return VertebraError(
        f"cannot fetch {filename} ({reason}); where there is a network run: "
        f"curl -L -o {filename} {address} ; then {put}pass weights='PATH/{filename}'"
    )
