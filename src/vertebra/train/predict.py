"""What a finished run says of images without labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vertebra.core import VertebraError
from vertebra.data import Batch, DecodeError, Skipped, decode, image_files, prepare
from vertebra.runs import Run
from vertebra.train.evaluate import load_model
from vertebra.train.infer import classify, output_names
from vertebra.train.settings import device_of, settings

BATCH = 64
TOP = 5


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, at most five, as (name, probability)."""

    path: Path
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Predictions:
    """Predictions in the order of the images, and what could not be decoded."""

    predictions: tuple[Prediction, ...]
    skipped: tuple[Skipped, ...]


def predict(
    run: Run | str | Path, paths: Sequence[str | Path], *, checkpoint: str = "best"
) -> Predictions:
    """Classify image files, or every image below folders.

    Args:
        run: a run or its folder.
        paths: files and folders.
        checkpoint: "best" or "last".

    Raises:
        VertebraError: no such run or path, or no image among them that can be decoded.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    files = [file for path in paths for file in image_files(Path(path))]
    if not files:
        raise VertebraError("no image was named")
    device = device_of(run.recipe)
    net = load_model(run, checkpoint).to(device)
    names = output_names(run.recipe, run.classes)
    predictions: list[Prediction] = []
    skipped: list[Skipped] = []
    for some in _groups(files, BATCH):
        images = list(_decoded(run, some, skipped))
        if not images:
            continue
        batch = torch.stack([image for _, image in images])
        none = torch.zeros(len(batch), dtype=torch.int64)
        unlabelled = iter([Batch(batch, none, none)])
        with settings(run.recipe):
            answers = classify(net, unlabelled, run.preprocessing, device, run.recipe.train)
        for (path, _), row in zip(images, answers.probabilities, strict=True):
            best = sorted(range(len(row)), key=lambda place: -row[place])[:TOP]
            predictions.append(Prediction(path, tuple((names[i], float(row[i])) for i in best)))
    if not predictions:
        first = skipped[0]
        raise VertebraError(f"no image could be decoded: {first.id}: {first.reason}")
    return Predictions(tuple(predictions), tuple(skipped))


def _decoded(
    run: Run, files: Iterable[Path], skipped: list[Skipped]
) -> Iterator[tuple[Path, Tensor]]:
    for path in files:
        try:
            image = decode(path, run.recipe.data.channels or 3)
        except DecodeError as error:
            skipped.append(Skipped(str(path), error.reason))
            continue
        yield path, prepare(image, run.preprocessing)


def _groups(files: Sequence[Path], size: int) -> Iterator[Sequence[Path]]:
    for start in range(0, len(files), size):
        yield files[start : start + size]
