"""The process that writes what the engines load: ``python -m vertebra.bench.maker``.

It has PyTorch, the exporters and the quantisers, so that the processes that are measured need not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vertebra.bench.answering import Answer, answer_orders
from vertebra.bench.subject import IMAGES, LOGITS
from vertebra.core import VertebraError
from vertebra.runtime import Setup, export_onnx, precision_on_disk
from vertebra.runtime import make as make_artifact
from vertebra.runtime.setup import checked_shape


def make(target: str, input_shape: list[int], setups: list[dict[str, Any]], folder: str) -> Answer:
    """Write images, PyTorch's answer to them, and an artifact for each setup that loads one.

    Returns:
        ``artifacts``: a path, or None where the engine builds the network itself, for each setup;
        ``failed``: the reason by the setup's place, for those that could not be made.
    """
    import numpy as np
    import torch

    from vertebra.bench.network import network
    from vertebra.core import rng

    here, shape = Path(folder), checked_shape(input_shape)
    net = network(target, shape)
    images = rng(0, "bench", "images").normal(size=shape).astype(np.float32)
    with torch.inference_mode():
        logits = net(torch.from_numpy(images))
    if not isinstance(logits, torch.Tensor):
        raise VertebraError(f"{target} gives a {type(logits).__name__}; bench takes one tensor")
    np.save(here / IMAGES, images)
    np.save(here / LOGITS, logits.numpy())
    artifacts: list[str | None] = []
    failed: dict[str, str] = {}
    exported, made = None, dict[tuple[str, str], str]()
    for place, setup in enumerate(Setup(**plain) for plain in setups):
        key = setup.engine, precision_on_disk(setup)
        try:
            if not setup.runs_in_torch and key not in made:
                exported = exported or export_onnx(net, shape, here / "exported.onnx")
                folder_of_it = here / "-".join(key)
                made[key] = str(make_artifact(exported, shape, setup, folder_of_it).folder)
        except Exception as error:  # an exporter's or quantiser's own, of whatever kind
            lines = str(error).strip().splitlines() or [""]
            failed[str(place)] = f"{type(error).__name__}: {lines[0][:300]}"
        artifacts.append(made.get(key))
    return {"artifacts": artifacts, "failed": failed}


if __name__ == "__main__":
    answer_orders(lambda _order, rest: make(**rest))
