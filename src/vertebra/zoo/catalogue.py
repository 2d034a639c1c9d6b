"""Regenerate the catalogue: ``python -m vertebra.zoo.catalogue`` after a change to a table.

Every row is built on the meta device and dissected, so this takes seconds. A test fails when the
stored file differs from what this gives.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from vertebra.anatomy import dissect
from vertebra.core import replace_file
from vertebra.zoo.registry import CATALOGUE, create, load_families


def catalogue() -> dict[str, Any]:
    """The catalogue as plain data: one entry a row of each family's table."""
    models = {}
    for family in load_families().values():
        options = {
            name: {"default": option.default, "doc": option.doc}
            for name, option in family.options.items()
        }
        for name, row in family.variants.items():
            with torch.device("meta"):
                body = dissect(create(name, seed=0))
            models[name] = {
                "family": family.name,
                "year": row.year,
                "paper": row.paper,
                "input_size": list(row.input_size),
                "num_classes": row.num_classes,
                "params": body.params,
                "macs": body.macs,
                "fingerprint": body.fingerprint,
                "options": options,
            }
    return {"schema": "vertebra.catalogue/1", "convention": "torchvision", "models": models}


def render() -> str:
    """The text of the catalogue file."""
    return json.dumps(catalogue(), indent=1) + "\n"


if __name__ == "__main__":
    path = Path(__file__).with_name(CATALOGUE)
    replace_file(path, render())
    sys.stdout.write(f"{path}\n")
