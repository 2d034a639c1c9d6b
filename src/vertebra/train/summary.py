"""The end of a run: its figures on held-out images, and the page that shows them."""

from __future__ import annotations

import io
import shlex
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from vertebra.anatomy import Anatomy, dissect
from vertebra.core import write_json
from vertebra.data import Labelled, Split
from vertebra.report import Page, Picture, calibration_plot, count, line_plot, percent, shape, si
from vertebra.runs import Run
from vertebra.runs.run import DATA, RECIPE, REPORT
from vertebra.train.evaluate import Evaluation, judge
from vertebra.train.job import note_broken
from vertebra.train.tables import (
    CLASS_COLUMNS,
    CONFUSED_COLUMNS,
    MATRIX_CLASSES,
    class_rows,
    confused_rows,
)
from vertebra.zoo.of_recipe import build

if TYPE_CHECKING:
    from vertebra.train.job import Job

MISTAKES = 12
_PICTURE_SIZE = 148


def finish(job: Job) -> Evaluation:
    """Judge the best checkpoint on the test split (validation if there is none) and write the page.

    The test figures become the last line of ``metrics.jsonl``.
    """
    split = job.dataset.test or job.dataset.split("val")
    labelled = Labelled(split, (), job.dataset.notes)
    evaluation = judge(job.run, labelled, "best")
    note_broken(job, evaluation.skipped)
    _record_broken(job)
    if split.name == "test":
        scores = evaluation.scores
        assert job.log is not None  # rank 0 has one, and no other comes here
        job.log.write(
            {
                "kind": "test",
                "epoch": evaluation.epoch,
                "top1": scores.top1,
                "top5": scores.top5,
                "loss": scores.loss,
                "ece": scores.ece,
                "errors": scores.errors,
                "images": scores.images,
            }
        )
    write_report(job.run, evaluation, split)
    return evaluation


def _record_broken(job: Job) -> None:
    """Write what could not be decoded into the run's data card."""
    broken = [{"id": name, "reason": why} for name, why in sorted(job.progress.broken.items())]
    if broken:
        write_json(job.run.path / DATA, {**job.run.card, "skipped": broken})


def write_report(run: Run, evaluation: Evaluation, split: Split) -> None:
    """Write ``report.html`` into the run folder."""
    with torch.device("meta"):
        net = build(run.recipe)
    size = run.preprocessing.size
    body = dissect(net, (run.preprocessing.channels, size, size))
    recipe, scores = run.recipe, evaluation.scores
    page = Page(
        title=f"{recipe.model.name} on {run.card['source'].rpartition('/')[2]}",
        lead=f"Run {run.path.name}: {len(run.epochs)} epochs, seed {recipe.seed}, "
        f"{recipe.train.precision}. Judged on {split.name} ({scores.images} images) with the best "
        f"checkpoint by validation, of epoch {evaluation.epoch}.",
    )
    _headline(page, evaluation, body)
    _curves(page, run)
    _classes(page, evaluation)
    _mistakes(page, evaluation, split)
    _calibration(page, evaluation)
    _network(page, body)
    _provenance(page, run)
    page.write(run.path / REPORT)


def _headline(page: Page, evaluation: Evaluation, body: Anatomy) -> None:
    scores = evaluation.scores
    page.facts(
        [
            ("top-1", percent(scores.top1)),
            ("top-5", percent(scores.top5)),
            ("errors", f"{scores.errors} of {scores.images}"),
            ("calibration error", percent(scores.ece)),
            ("parameters", si(body.params)),
            ("MACs an image", si(body.macs) + (" and more" if body.partial else "")),
            ("receptive field", f"{body.receptive_field or '-'}"),
        ]
    )


def _curves(page: Page, run: Run) -> None:
    epochs = run.epochs
    x = [row["epoch"] for row in epochs]
    page.section(
        "Curves",
        "Training is measured on augmented images while the weights still move, validation after "
        "each epoch on plain ones; so training may look worse than validation. Training's loss "
        "includes label smoothing where the recipe has it, validation's does not.",
    )
    page.plots(
        [
            line_plot(
                {
                    "training": (x, [row["train_loss"] for row in epochs]),
                    "validation": (x, [row["val_loss"] for row in epochs]),
                },
                "epoch",
                "cross-entropy (nats)",
            ),
            line_plot(
                {
                    "training": (x, [100 * row["train_top1"] for row in epochs]),
                    "validation": (x, [100 * row["val_top1"] for row in epochs]),
                },
                "epoch",
                "top-1 (%)",
            ),
        ]
    )


def _classes(page: Page, evaluation: Evaluation) -> None:
    scores = evaluation.scores
    page.section("Classes", "Weakest first, by F1.")
    page.table(CLASS_COLUMNS, class_rows(sorted(scores.classes, key=lambda entry: entry.f1)))
    names = [entry.name for entry in scores.classes]
    if len(names) <= MATRIX_CLASSES:
        page.section("Confusion", "Row: what it is. Column: what the network said.")
        page.matrix(names, scores.confusion.tolist())
        return
    page.section("Confusion", "The pairs most often confused.")
    page.table(CONFUSED_COLUMNS, confused_rows(scores), text=2)


def _mistakes(page: Page, evaluation: Evaluation, split: Split) -> None:
    """The wrong answers that the network was surest of."""
    page.section("Worst mistakes")
    probabilities, labels = evaluation.probabilities, evaluation.labels
    names = [entry.name for entry in evaluation.scores.classes]
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    if not len(wrong):
        page.text("None: every image was classified as labelled.")
        return
    worst = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:MISTAKES]
    page.gallery(
        [
            Picture(
                png=_thumbnail(split, int(evaluation.places[place])),
                caption=f"said {names[predicted[place]]}, is {names[labels[place]]}",
                detail=f"{percent(float(probabilities[place].max()), 1)} sure; "
                f"{percent(float(probabilities[place, labels[place]]), 1)} for the truth; "
                f"{evaluation.ids[place]}",
            )
            for place in worst
        ]
    )


def _thumbnail(split: Split, place: int) -> bytes:
    pixels = split.read(place)
    array = pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).numpy()
    image = Image.fromarray(array)
    image.thumbnail((_PICTURE_SIZE, _PICTURE_SIZE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _calibration(page: Page, evaluation: Evaluation) -> None:
    scores = evaluation.scores
    page.section(
        "Calibration",
        f"On the dotted line the network is right as often as it is sure. Expected calibration "
        f"error over 15 equal bins: {percent(scores.ece)}. The larger the dot, the more images.",
    )
    bins = [(b.confidence, b.accuracy, b.images) for b in scores.calibration]
    page.plots([calibration_plot(bins)])


def _network(page: Page, body: Anatomy) -> None:
    page.section(
        "Network",
        "Shapes for one image, channels first. Multiply-accumulates of convolutions and matrix "
        "products, without bias and norm, and each stage's share of them. The field is the "
        "theoretical receptive field in pixels.",
    )
    rows = [
        (
            stage.name,
            shape(stage.output_shape),
            si(stage.params),
            si(stage.macs),
            percent(stage.macs / body.macs if body.macs else 0, 1),
            str(stage.receptive_field or "-"),
        )
        for stage in body.stages
    ]
    page.table(("stage", "output", "params", "MACs", "share", "field"), rows, text=2)
    if body.partial:
        page.text(f"Not counted: {', '.join(body.partial)}. The MACs above are a lower bound.")


def _provenance(page: Page, run: Run) -> None:
    card, place = run.card, run.environment
    page.section("Data")
    names = list(card["counts"])
    totals = [count(sum(card["counts"][name].values())) for name in names]
    rows = [(name, *(count(card["counts"][part][name]) for part in names)) for name in run.classes]
    page.table(("class", *names), [*rows, ("all", *totals)])
    for note in card["notes"]:
        page.text(f"Note: {note}.")
    if card["skipped"]:
        many = len(card["skipped"])
        page.text(f"{many} images could not be decoded; in training others stood in for them:")
        skipped = [(entry["id"], entry["reason"]) for entry in card["skipped"][:20]]
        page.table(("image", "reason"), skipped, text=2)
    page.section("Recipe", "As resolved: nothing that decides a number is left open.")
    page.code(run.recipe.to_yaml())
    page.section("Environment")
    machine = place["machine"]
    page.table(
        ("what", "is"),
        [
            ("processor", machine["processor"]),
            ("cores used", str(run.recipe.train.threads)),
            ("instruction sets", ", ".join(machine["instruction_sets"])),
            ("memory", f"{machine['memory'] / 2**30:.1f} GiB"),
            ("GPU", place["gpu"] or "none"),
            ("system", machine["system"]),
            ("Python", place["python"]),
            *((name, number or "-") for name, number in place["packages"].items()),
            ("git commit", (place["git"] or {}).get("commit", "-")),
            ("command", place["command"]),
        ],
        text=2,
    )
    page.section("Reproduce", "On the same machine and versions this repeats every figure above.")
    page.code(f"vertebra train --recipe {shlex.quote(str(run.path / RECIPE))}")
