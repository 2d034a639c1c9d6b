"""Finding an architecture by name and building it."""

from __future__ import annotations

import fnmatch
import functools
import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from vertebra.core import VertebraError, unknown
from vertebra.zoo.family import Family, Request

if TYPE_CHECKING:
    from torch import Tensor

    from vertebra.nn import Backbone

# One module of this package a family, in order of publication.
FAMILY_MODULES = ("lenet", "resnet")
CATALOGUE = "catalogue.json"


@dataclass(frozen=True)
class Architecture:
    """One architecture as the catalogue knows it.

    ``params`` and ``macs`` are those of the network as published (``num_classes``, ``input_size``);
    MACs follow torchvision's convention: convolutions and matrix products, no bias, no norm.
    ``options`` maps the name of an option to its default and its explanation.
    """

    name: str
    family: str
    year: int
    paper: str
    input_size: tuple[int, int, int]
    num_classes: int
    params: int
    macs: int
    fingerprint: str
    options: Mapping[str, Mapping[str, Any]]


@functools.cache
def _catalogue() -> dict[str, Architecture]:
    rows = json.loads(files("vertebra.zoo").joinpath(CATALOGUE).read_text())["models"]
    return {
        name: Architecture(name=name, **{**row, "input_size": tuple(row["input_size"])})
        for name, row in rows.items()
    }


def list_models(
    pattern: str = "*",
    *,
    exclude: str | Iterable[str] = (),
    family: str | None = None,
) -> list[str]:
    """Names that match a shell wildcard, in the catalogue's order (by family, then by row).

    ``exclude`` is one wildcard or several. Matching ignores case. Loads no PyTorch.

    Raises:
        VertebraError: ``family`` is none of the zoo's.
    """
    known = _catalogue()
    families = {architecture.family for architecture in known.values()}
    if family is not None and family not in families:
        raise unknown("family", family, families)
    # A lone string is one pattern: taken letter by letter, "*_v1" would exclude every model.
    excluded = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    return [
        name
        for name, architecture in known.items()
        if _matches(name, pattern)
        and not any(_matches(name, other) for other in excluded)
        and family in (None, architecture.family)
    ]


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name.lower(), pattern.lower())


def get(name: str) -> Architecture:
    """The catalogue's entry for ``name``. Loads no PyTorch.

    Raises:
        VertebraError: no such architecture; suggests the nearest.
    """
    try:
        return _catalogue()[name]
    except KeyError:
        raise unknown("model", name, _catalogue()) from None


@functools.cache
def load_families() -> dict[str, Family]:
    """Every family by name; this is what loads PyTorch."""
    modules = (importlib.import_module(f"vertebra.zoo.{name}") for name in FAMILY_MODULES)
    families: list[Family] = [module.FAMILY for module in modules]
    return {family.name: family for family in families}


def family_of(name: str) -> Family:
    """The family whose table has the row ``name``: the table, not the catalogue, decides."""
    for family in load_families().values():
        if name in family.variants:
            return family
    raise unknown("model", name, [row for f in load_families().values() for row in f.variants])


def create(
    name: str,
    num_classes: int | None = None,
    in_chans: int | None = None,
    *,
    dropout: float | None = None,
    drop_path: float | None = None,
    input_size: tuple[int, int, int] | None = None,
    weights: None = None,
    seed: int | None = None,
    **options: Any,
) -> Backbone:
    """Build an initialised network.

    Args:
        name: a name from :func:`list_models`.
        num_classes: width of the logits; 0 for no head; None for as published (1000 for ImageNet's
            networks, 10 for CIFAR's and LeNet).
        in_chans: input channels; None for those of ``input_size``, or as published.
        dropout: rate before the last layer; None for none.
        drop_path: rate of stochastic depth at the last block; None for none.
        input_size: (channels, height, width) for networks whose weights depend on it; None for as
            published.
        weights: None; pretrained weights are loaded by :func:`load_foreign`.
        seed: for the initial weights; None takes one from PyTorch's global generator.
        **options: the family's own switches (``get(name).options``).

    Returns:
        The network in training mode, on the current default device. Built under
        ``torch.device("meta")`` it has shapes but no weights.

    Raises:
        VertebraError: an unknown name or option, a value out of range, or ``in_chans`` and
            ``input_size`` that contradict each other.
    """
    import torch

    if weights is not None:
        raise VertebraError("weights takes None only; load a state dict with load_foreign")
    family = family_of(name)
    row = family.variants[name]
    channels = row.input_size[0] if in_chans is None else in_chans
    if input_size is not None:
        _image_size(input_size)
        channels = input_size[0] if in_chans is None else channels
        if input_size[0] != channels:
            raise VertebraError(
                f"in_chans is {in_chans}, but input_size {tuple(input_size)} has {input_size[0]} "
                f"channels"
            )
    request = Request(
        num_classes=_at_least(
            0, "num_classes", row.num_classes if num_classes is None else num_classes
        ),
        in_chans=_at_least(1, "in_chans", channels),
        dropout=_rate("dropout", dropout),
        drop_path=_rate("drop_path", drop_path),
        input_size=(channels, *_image_size(input_size or row.input_size)),
        options=family.resolve_options(options),
        seed=int(torch.randint(2**31, (), device="cpu")) if seed is None else seed,
    )
    # Layers draw numbers while they are built, which are then drawn anew by address: the fork keeps
    # that from moving the caller's generator.
    with torch.random.fork_rng(devices=[]):
        return family.build(name, row, request)


def load_foreign(
    net: Backbone, state_dict: Mapping[str, Tensor], source: str = "torchvision"
) -> None:
    """Load weights that another library saved: renamed by the family's own rule, then strictly.

    Raises:
        VertebraError: the family knows no such source, or names or shapes do not fit.
    """
    renames = family_of(net.name).renames
    if source not in renames:
        raise unknown(f"source of weights for {net.name}", source, renames)
    renamed = renames[source](state_dict)
    for name, value in net.state_dict().items():
        # Files from before PyTorch counted batches lack the counter, which evaluation never reads.
        if name.endswith(".num_batches_tracked"):
            renamed.setdefault(name, value)
    # Compared before anything is copied: PyTorch would load what fits and complain afterwards.
    ours = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    theirs = {name: tuple(getattr(value, "shape", ())) for name, value in renamed.items()}
    wrong = sorted(
        name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
    )
    if wrong:
        raise VertebraError(
            f"these {source} weights do not fit {net.name}: {wrong[0]} is "
            f"{theirs.get(wrong[0], 'missing')} there and {ours.get(wrong[0], 'missing')} here "
            f"({len(wrong)} such)"
        )
    net.load_state_dict(renamed, strict=True)


def _image_size(size: tuple[int, int, int]) -> tuple[int, int]:
    """(height, width) of (channels, height, width)."""
    try:
        _, height, width = size
    except (TypeError, ValueError):
        raise VertebraError(f"input_size should be like (3, 224, 224), got {size!r}") from None
    return _at_least(1, "input_size's height", height), _at_least(1, "input_size's width", width)


def _at_least(least: int, what: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise VertebraError(f"{what} must be a whole number of at least {least}, got {value!r}")
    return value


def _rate(what: str, value: float | None) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise VertebraError(f"{what} must be at least 0 and below 1, got {value!r}")
    return float(value)
