"""Regenerate the catalogue: ``python -m vertebra.zoo.catalogue`` after a change to a table.

Every row is built on the meta device and dissected, so this takes seconds. A test fails when the
stored file differs from what this gives.
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from vertebra.anatomy import dissect, work
from vertebra.core import VertebraError, replace_file
from vertebra.evidence import Published, published_elsewhere
from vertebra.zoo.create import create
from vertebra.zoo.downloads import torchvision_entries, torchvision_preprocessing
from vertebra.zoo.registry import CATALOGUE, load_families


def catalogue() -> dict[str, Any]:
    """The catalogue as plain data: one entry a row of each family's table."""
    models = {}
    elsewhere = list(published_elsewhere())
    for family in load_families().values():
        options = {
            name: {"default": option.default, "doc": option.doc, "choices": list(option.choices)}
            for name, option in family.options.items()
        }
        for name, row in family.variants.items():
            with torch.device("meta"):
                net = create(name, seed=0)
            body = dissect(net)
            if body.partial:
                raise RuntimeError(f"{name}: MACs of {', '.join(body.partial)} are not counted")
            published = [*_from_torchvision(name), *(r for model, r in elsewhere if model == name)]
            models[name] = {
                "family": family.name,
                "year": row.year,
                "paper": row.paper,
                "input_size": list(row.input_size),
                "num_classes": row.num_classes,
                "dropout": row.dropout,
                "drop_path": row.drop_path,
                "params": body.params,
                "aux_params": sum(parameter.numel() for parameter in net.aux.parameters()),
                "macs": body.macs,
                "fingerprint": body.fingerprint,
                "work": {kind: part.to_list() for kind, part in work(body).items()},
                "stages": [[stage.channels, stage.reduction] for stage in net.stage_info],
                "options": options,
                "published": [vars(entry) for entry in published],
            }
    unknown = {model for model, _ in elsewhere} - models.keys()
    if unknown:
        raise RuntimeError(f"published.csv has rows of {', '.join(sorted(unknown))}")
    return {"schema": "vertebra.catalogue/1", "convention": "torchvision", "models": models}


def _from_torchvision(name: str) -> Iterator[Published]:
    """What torchvision's metadata says of each of its weights."""
    try:
        entries = torchvision_entries(name)
    except VertebraError:
        return
    for entry in entries:
        metrics = entry.meta["_metrics"]["ImageNet-1K"]
        yield Published(
            weights=entry.name,
            top1=_share(metrics["acc@1"]),
            top5=_share(metrics["acc@5"]),
            params=entry.meta["num_params"],
            gmacs=entry.meta["_ops"],
            crop=torchvision_preprocessing(name, entry).size,
            source="torchvision's metadata of these weights",
        )


def _share(percent: float) -> float | None:
    """None for weights that classify nothing: VGG-16's of the original paper are a body alone."""
    return None if math.isnan(percent) else round(percent / 100, 6)


def render() -> str:
    """The text of the catalogue file."""
    return json.dumps(catalogue(), indent=1, allow_nan=False) + "\n"


if __name__ == "__main__":
    path = Path(__file__).with_name(CATALOGUE)
    replace_file(path, render())
    sys.stdout.write(f"{path}\n")
