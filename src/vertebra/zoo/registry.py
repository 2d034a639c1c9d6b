"""Finding an architecture by name."""

from __future__ import annotations

import fnmatch
import functools
import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from vertebra.core import unknown
from vertebra.evidence import Published
from vertebra.zoo import any_timm
from vertebra.zoo.family import Family, Row

# One module of this package a family, in order of publication.
FAMILY_MODULES = (
    "lenet",
    "alexnet",
    "nin",
    "vgg",
    "googlenet",
    "resnet",
    "inception",
    "resnet_v2",
    "densenet",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3",
    "efficientnet",
    "vit",
    "swin",
    "mobilevit",
    "convnext",
)
CATALOGUE = "catalogue.json"


@dataclass(frozen=True)
class Architecture:
    """One architecture as the catalogue knows it.

    ``params`` and ``macs`` are those of the network as published (``num_classes``, ``input_size``);
    MACs follow torchvision's convention: convolutions and matrix products, no bias, no norm.
    ``aux_params`` of the parameters are auxiliary heads, which only training runs. ``dropout`` and
    ``drop_path`` are the published rates. ``options`` maps the name of an option to its default,
    its explanation and its choices. ``work`` maps a kind of work to its MACs, bytes moved, bytes of
    weights among them and operations (``anatomy.Work``); ``stages`` are (channels, reduction) of
    each map that ``features`` gives. ``published`` are results of others, each with its source.
    """

    name: str
    family: str
    year: int
    paper: str
    input_size: tuple[int, int, int]
    num_classes: int
    dropout: float
    drop_path: float
    params: int
    aux_params: int
    macs: int
    fingerprint: str
    work: Mapping[str, Sequence[int]]
    stages: Sequence[Sequence[int]]
    options: Mapping[str, Mapping[str, Any]]
    published: tuple[Published, ...]

    @property
    def best(self) -> Published | None:
        """The highest published top-1 at ``input_size``, for which ``macs`` holds."""
        here = [
            row
            for row in self.published
            if row.top1 is not None and row.crop == self.input_size[-1]
        ]
        return max(here, key=lambda row: row.top1 or 0.0, default=None)


@functools.cache
def _catalogue() -> dict[str, Architecture]:
    rows = json.loads(files("vertebra.zoo").joinpath(CATALOGUE).read_text())["models"]
    return {name: _architecture(name, row) for name, row in rows.items()}


def _architecture(name: str, row: Mapping[str, Any]) -> Architecture:
    lists = {
        "input_size": tuple(row["input_size"]),
        "published": tuple(Published(**entry) for entry in row["published"]),
    }
    return Architecture(name=name, **{**row, **lists})


def list_models(
    pattern: str = "*",
    *,
    exclude: str | Iterable[str] = (),
    family: str | None = None,
) -> list[str]:
    """Names that match a shell wildcard, in the catalogue's order (by family, then by row).

    ``exclude`` is one wildcard or several. Matching ignores case. Loads no PyTorch. A pattern that
    begins with "timm/" asks timm instead, which does.

    Raises:
        VertebraError: ``family`` is none of the zoo's.
    """
    if pattern.startswith(any_timm.PREFIX):
        return any_timm.list_names(pattern)
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
    """The catalogue's entry for ``name``. Loads no PyTorch, but for "timm/NAME".

    Raises:
        VertebraError: no such architecture; suggests the nearest.
    """
    if name.startswith(any_timm.PREFIX):
        return _of_timm(name)
    try:
        return _catalogue()[name]
    except KeyError:
        raise unknown("model", name, _catalogue()) from None


def _of_timm(name: str) -> Architecture:
    """What the catalogue would say of one of timm's networks, found out by building it."""
    import torch

    from vertebra.anatomy import dissect, work
    from vertebra.zoo.create import create

    row = family_of(name).variants[name]
    with torch.device("meta"):
        net = create(name, seed=0)
    body = dissect(net)
    return Architecture(
        name=name,
        family="timm",
        year=row.year,
        paper=row.paper,
        input_size=row.input_size,
        num_classes=row.num_classes,
        dropout=row.dropout,
        drop_path=row.drop_path,
        params=body.params,
        aux_params=0,
        macs=body.macs,
        fingerprint=body.fingerprint,
        work={kind: part.to_list() for kind, part in work(body).items()},
        stages=[[stage.channels, stage.reduction] for stage in net.stage_info],
        options={},
        published=(),
    )


def row_of(name: str, options: Mapping[str, Any]) -> Row:
    """The row of ``name``, as the given options change it."""
    family = family_of(name)
    row: Row = family.specialise(family.variants[name], options)
    return row


@functools.cache
def load_families() -> dict[str, Family]:
    """Every family by name; this is what loads PyTorch."""
    modules = (importlib.import_module(f"vertebra.zoo.{name}") for name in FAMILY_MODULES)
    families: list[Family] = [module.FAMILY for module in modules]
    return {family.name: family for family in families}


def family_of(name: str) -> Family:
    """The family whose table has the row ``name``: the table, not the catalogue, decides.

    Raises:
        VertebraError: no such architecture; suggests the nearest.
    """
    if name.startswith(any_timm.PREFIX):
        return any_timm.family(name)
    for family in load_families().values():
        if name in family.variants:
            return family
    raise unknown("model", name, [row for f in load_families().values() for row in f.variants])
