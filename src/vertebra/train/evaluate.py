"""What a finished run is worth: its network on a split of its own data, or on other data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vertebra.core import VertebraError
from vertebra.data import ImageDataset, Labelled, Skipped, Split, open_labelled, open_source
from vertebra.nn import Backbone
from vertebra.runs import Run
from vertebra.train.checkpoint import Checkpoint, load_checkpoint
from vertebra.train.infer import classify_split, output_names
from vertebra.train.own_data import same_dataset, unchanged_dataset
from vertebra.train.scores import Scores, score
from vertebra.train.settings import device_of, settings
from vertebra.train.trained_on import notes_on
from vertebra.train.tta import check_views
from vertebra.zoo.of_recipe import build


@dataclass(frozen=True)
class Evaluation:
    """A run's scores on some images.

    ``probabilities`` (N, classes), ``labels`` (N,) and ``ids`` (N,) are in the order of ``split``,
    whose classes are numbered as the run's; ``places`` (N,) are theirs in it, since images that
    could not be decoded, ``skipped``, are not among them. ``epoch``: how many the checkpoint had
    behind it. ``device`` is where the network ran, ``notes`` what the user should know of how this
    came about. ``tta``: whose views' probabilities were averaged; None: the evaluation view alone.
    """

    run: Run
    data: str
    split: str
    checkpoint: str
    epoch: int
    scores: Scores
    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    places: NDArray[np.int64]
    ids: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    device: str
    notes: tuple[str, ...]
    tta: str | None = None

    @property
    def top1(self) -> float:
        """Share of images whose most probable class is right."""
        return self.scores.top1

    @property
    def top5(self) -> float | None:
        """Share of images whose class is among the five most probable; None below six classes."""
        return self.scores.top5

    @property
    def ece(self) -> float:
        """Expected calibration error over 15 equal bins."""
        return self.scores.ece

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "schema": "vertebra.evaluation/1",
            "run": str(self.run.path),
            "data": self.data,
            "split": self.split,
            "checkpoint": self.checkpoint,
            "epoch": self.epoch,
            "precision": self.run.recipe.train.precision,
            "device": self.device,
            "tta": self.tta,
            **self.scores.to_dict(),
            "skipped": [vars(entry) for entry in self.skipped],
            "notes": list(self.notes),
        }


def load_model(run: Run | str | Path, checkpoint: str = "best") -> Backbone:
    """The network of a run in evaluation mode on the CPU, with its averaged weights if it kept any.

    Args:
        run: a run or its folder.
        checkpoint: "best" (by validation) or "last".

    Raises:
        VertebraError: there is no such run or checkpoint, or it is damaged.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    return _network(run, load_checkpoint(run, checkpoint))


def _network(run: Run, saved: Checkpoint) -> Backbone:
    net = build(run.recipe)
    net.load_state_dict(saved.weights if saved.ema is None else saved.ema)
    if run.recipe.train.precision == "fp64":
        net = net.double()
    if run.recipe.train.channels_last:
        net = net.to(memory_format=torch.channels_last)
    return net.eval()


def evaluate(
    run: Run | str | Path,
    split: str | None = None,
    *,
    data: str | Path | None = None,
    checkpoint: str = "best",
    tta: str | None = None,
) -> Evaluation:
    """Score a run's network.

    Args:
        run: a run or its folder.
        split: "train", "val" or "test". None: test, else val, of the run's own data; of other data
            test if its folders have one, else every image.
        data: another dataset, whose classes must be among the run's, by name. The run's own is the
            same as None, by whatever name: what it was trained on is not judged unasked. It is its
            own if the place is, or the fingerprint of names, sizes, labels and splits, and the
            bytes of some images as far as both are there. Where only some images are training
            images of the run, by place, or by name, size and bytes, a note says how many.
        checkpoint: "best" or "last".
        tta: test-time augmentation: "flip" averages the probabilities of an image and its mirror
            image, "ten_crop" those of corners and centre and of their mirror images (see
            :func:`vertebra.data.augment.tta.views_of`).

    Raises:
        VertebraError: no such run, split or data; the data has a class that the run has not; the
            run's own data has changed; no such ``tta``, or "ten_crop" of images that are no larger
            than a crop.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if tta is not None:
        check_views(tta, run.preprocessing)
    return judge(run, _asked_for(run, split, data), checkpoint, tta)


def _asked_for(run: Run, split: str | None, data: str | Path | None) -> Labelled:
    # Nothing is kept: every image is read once.
    if data is None or _is_own(run, data):
        return _of_own(unchanged_dataset(run, keep=False), split)
    own = same_dataset(run, data)
    if own is not None:
        labelled = _of_own(own, split)
        said = f"is what the run was trained on: its {labelled.split.name} images are judged"
        notes: tuple[str, ...] = (f"{own.source.name} {said}",)
    else:
        recipe = run.recipe.data
        labelled = open_labelled(data, split, recipe.split_seed, channels=recipe.channels)
        notes = notes_on(run, labelled.split)
    return replace(labelled, notes=(*labelled.notes, *notes))


def _of_own(dataset: ImageDataset, split: str | None) -> Labelled:
    chosen = dataset.split(split) if split else dataset.test or dataset.split("val")
    return Labelled(chosen, (), dataset.notes)


def judge(run: Run, labelled: Labelled, checkpoint: str, tta: str | None = None) -> Evaluation:
    """Score a run's network on a split, with the run's own precision, threads and device.

    A run of a GPU is judged on the CPU where there is no GPU, and a note says so.

    Raises:
        VertebraError: the split has a class that the run does not know; or no such ``tta``.
    """
    chosen = labelled.split
    numbers = _numbers(chosen, run)
    device = device_of(run.recipe)
    saved = load_checkpoint(run, checkpoint)
    net = _network(run, saved).to(device)
    with settings(run.recipe):
        answers = classify_split(net, chosen, run.preprocessing, device, run.recipe.train, tta=tta)
    probabilities, labels = answers.probabilities, numbers[answers.labels]
    names = output_names(run.recipe, run.classes)
    return Evaluation(
        run=run,
        data=chosen.source.name,
        split=chosen.name,
        checkpoint=checkpoint,
        epoch=int(saved.metadata["epoch"]),
        scores=score(probabilities, labels, names, answers.losses(labels)),
        probabilities=probabilities,
        labels=labels,
        places=answers.places,
        ids=tuple(chosen.id(place) for place in answers.places.tolist()),
        skipped=answers.broken,
        device=str(device),
        notes=(*labelled.notes, *_elsewhere(run, device)),
        tta=tta,
    )


def _is_own(run: Run, data: str | Path) -> bool:
    own = run.recipe.data.source
    if str(data).startswith(("hf:", "wds:")):  # names that are written in several ways
        return open_source(str(data), training=False).name == own
    return str(data) == own or (own != "digits" and Path(data).resolve() == Path(own).resolve())


def _elsewhere(run: Run, device: torch.device) -> tuple[str, ...]:
    asked = run.recipe.train.device
    if asked is None or torch.device(asked).type == device.type:
        return ()
    return (f"trained on {asked}, which is not to be had here: judged on {device}",)


def _numbers(split: Split, run: Run) -> NDArray[np.int64]:
    """The run's number of each of the split's classes (classes,).

    Raises:
        VertebraError: the run does not know one of them.
    """
    names = split.source.classes
    extra = [name for name in names if name not in run.classes]
    if extra:
        shown = ", ".join(extra[:5]) + (", ..." if len(extra) > 5 else "")
        raise VertebraError(
            f"{split.source.name} has classes that {run.path} does not know: {shown}"
        )
    return np.array([run.classes.index(name) for name in names], dtype=np.int64)
