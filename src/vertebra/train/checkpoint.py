"""Checkpoints: a folder that is complete or absent, and a pointer that names it.

Order of a save: every file written and synced under a temporary name, the folder renamed, its
parent synced, and only then the pointer ``last`` (and ``best``) replaced. A kill at any point
leaves the pointers naming complete folders; what no pointer names is removed at the next save.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from vertebra.core import VertebraError, replace_file, sync_folder
from vertebra.runs import Run
from vertebra.runs.run import CHECKPOINTS, RECIPE

WEIGHTS = "weights.safetensors"
EMA = "ema.safetensors"
STATE = "state.pt"
MANIFEST = "manifest.json"
_TEMPORARY = ".writing-"


@dataclass
class Checkpoint:
    """What is saved: weights, their average if one is kept, and the state of training.

    ``state`` holds plain data and tensors only, so that it loads with ``weights_only=True``.
    """

    weights: Mapping[str, Tensor]
    ema: Mapping[str, Tensor] | None
    state: dict[str, Any]
    metadata: Mapping[str, str]


def save_checkpoint(run: Run, checkpoint: Checkpoint, step: int, best: bool) -> Path:
    """Save as ``checkpoints/step-<step>`` and let ``last`` name it, and ``best`` if asked.

    Raises:
        VertebraError: a number is not finite (nothing is saved), or the disk refuses.
    """
    _check_finite(checkpoint, run)
    folder = run.path / CHECKPOINTS
    try:
        folder.mkdir(exist_ok=True)
        sync_folder(run.path)
        final = _free_name(folder, step)
        _write_folder(folder / f"{_TEMPORARY}{final.name}", final, checkpoint)
        if best:
            replace_file(folder / "best", final.name + "\n")
        replace_file(folder / "last", final.name + "\n")
    except OSError as error:
        raise VertebraError(
            f"cannot save a checkpoint in {folder}: {error.strerror or error}; "
            f"the one before, if any, is whole"
        ) from None
    _remove_unnamed(folder)
    return final


def load_checkpoint(run: Run, which: str = "last") -> Checkpoint:
    """Read the checkpoint that ``which`` names, after comparing every file with its manifest.

    Raises:
        VertebraError: there is none, a file is missing or not the one that was written, or the
            run's recipe has been changed since.
    """
    folder = run.checkpoint(which)
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files = {name: (folder / name).read_bytes() for name in manifest["sha256"]}
    except (OSError, ValueError, KeyError) as error:
        raise VertebraError(f"checkpoint {folder} cannot be read: {error}") from None
    for name, digest in manifest["sha256"].items():
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise VertebraError(f"checkpoint {folder} is damaged: {name} is not what was written")
    if manifest["metadata"].get("recipe") != run.recipe.digest:
        raise VertebraError(
            f"{run.path / RECIPE} is not the recipe that {folder.name} was trained by; "
            f"put back what was changed"
        )
    return Checkpoint(
        weights=load_safetensors(files[WEIGHTS]),
        ema=load_safetensors(files[EMA]) if EMA in files else None,
        state=torch.load(io.BytesIO(files[STATE]), weights_only=True, map_location="cpu"),
        metadata=manifest["metadata"],
    )


def _write_folder(temporary: Path, final: Path, checkpoint: Checkpoint) -> None:
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        _fill_folder(temporary, checkpoint)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)  # half of it helps nobody on a full disk
        raise
    temporary.rename(final)
    sync_folder(final.parent)


def _fill_folder(folder: Path, checkpoint: Checkpoint) -> None:
    metadata = dict(checkpoint.metadata)
    contents = {WEIGHTS: _tensors(checkpoint.weights, metadata)}
    if checkpoint.ema is not None:
        contents[EMA] = _tensors(checkpoint.ema, metadata)
    buffer = io.BytesIO()
    torch.save(checkpoint.state, buffer)
    contents[STATE] = buffer.getvalue()
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    manifest = {"schema": "vertebra.checkpoint/1", "metadata": metadata, "sha256": sums}
    contents[MANIFEST] = (json.dumps(manifest, indent=2) + "\n").encode()
    for name, content in contents.items():
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


def _tensors(tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    """As safetensors, in the plain layout: the file should not depend on channels_last."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return _in_order(save_safetensors(plain, metadata))


def _in_order(content: bytes) -> bytes:
    """Sort the metadata, which safetensors writes in any order: equal runs have equal files.

    The format: eight bytes of length, a JSON header padded with spaces to that length, tensors.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    padded = text.ljust(-(-len(text) // 8) * 8)
    return len(padded).to_bytes(8, "little") + padded + content[8 + length :]


def _free_name(folder: Path, step: int) -> Path:
    """``step-000420``, or with a suffix where a run was stopped and went on at the same step."""
    name = folder / f"step-{step:06d}"
    again = 2
    while name.exists():
        name = folder / f"step-{step:06d}-{again}"
        again += 1
    return name


def _remove_unnamed(folder: Path) -> None:
    named = {
        (folder / which).read_text().strip()
        for which in ("last", "best")
        if (folder / which).exists()
    }
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name not in named:
            shutil.rmtree(entry, ignore_errors=True)


def _all_tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    yield from checkpoint.weights.items()
    for name, value in (checkpoint.ema or {}).items():
        yield f"the average of {name}", value
    for state in checkpoint.state.get("optimizer", {}).get("state", {}).values():
        for name, value in state.items():
            if isinstance(value, Tensor):
                yield f"the optimiser's {name}", value


def _check_finite(checkpoint: Checkpoint, run: Run) -> None:
    for name, value in _all_tensors(checkpoint):
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise VertebraError(
                f"{name} is no longer finite, so this state is not saved; an earlier checkpoint of "
                f"{run.path}, if it has one, is whole. A lower learning rate or fp32 may help",
                exit_code=1,
            )
