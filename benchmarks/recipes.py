"""What each regulariser does to a small network on handwritten digits, for docs/recipes.md.

Every row changes one thing of the recipe ``scratch-small`` (ResNet-20, weight decay, padded crops)
and trains it with as many seeds; a seed draws the initial weights, the order, the augmentation and,
where only some images are trained on, which ones. Rows of the same seed are compared with each
other, so that what a seed brings by itself cancels.

Trained on 20 digits of each class, where the others of the split that everybody has join the test
set, or with ``--images all`` on its 1 077. Images are 16 pixels wide (they were scanned at 8), each
run has one thread, and as many run at a time as there are cores. The last line is the ratio of the
test errors of the best row to the recipe's own. About an hour on two cores.

    python benchmarks/recipes.py [--seeds 5] [--images 20] [--only mixup sam] [--out results]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECIPE = "scratch-small"
# What each row changes; names as in the table.
ROWS: dict[str, dict[str, Any]] = {
    "scratch-small as it is": {},
    "no weight decay": {"weight_decay": 0},
    "weight decay times 10": {"weight_decay": 5e-3},
    "no crops": {"crop": "none"},
    "neither decay nor crops": {"weight_decay": 0, "crop": "none"},
    "flips": {"flip": True},
    "colour jitter 0.4": {"jitter": 0.4},
    "random erasing 0.25": {"erase": 0.25},
    "AutoAugment": {"policy": "autoaugment"},
    "RandAugment (2, 9)": {"policy": "randaugment"},
    "TrivialAugment": {"policy": "trivialaugment"},
    "repeated augmentation, 3": {"repeats": 3},
    "MixUp 0.2": {"mixup": 0.2},
    "CutMix 1.0": {"cutmix": 1.0},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "dropout 0.2": {"dropout": 0.2},
    "spatial dropout 0.2": {"spatial_dropout": 0.2},
    "drop-path 0.1": {"drop_path": 0.1},
    "average of weights, 0.99": {"ema_decay": 0.99},
    "SAM 0.05": {"sam_rho": 0.05},
}
# By images of a class to train on: the length of a run. All have about as many steps.
EPOCHS = {"20": 60, "all": 12}


@dataclass(frozen=True)
class Task:
    """One run."""

    row: str
    images: str
    seed: int
    folder: str

    @property
    def name(self) -> str:
        """Of its file of results."""
        return f"{self.row.replace(' ', '-')}-{self.images}-{self.seed}"


def write_digits(folder: Path, each: int, seed: int) -> Path:
    """A manifest of the digits: ``each`` of a class to train on, 10 to validate, the rest test."""
    import csv

    import numpy as np
    from torchvision.io import write_png

    from vertebra.core import rng
    from vertebra.data import open_dataset

    digits = open_dataset("digits")
    pictures = folder / "digits"
    pictures.mkdir(parents=True, exist_ok=True)
    rows = []
    for split in digits.splits:
        draw = rng(seed, "benchmark", "digits").permutation(len(split))
        taken = np.zeros(len(digits.classes), int)
        for place in draw.tolist():
            label = int(split.labels[place])
            most = {"train": each, "val": 10}.get(split.name, 0)
            where = split.name if taken[label] < most else "test"
            taken[label] += 1
            file = pictures / f"{split.id(place)}.png"
            if not file.exists():
                write_png(split.read(place), str(file))
            rows.append((f"digits/{file.name}", label, where))
    manifest = folder / f"digits-{each}-{seed}.csv"
    with manifest.open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "split"), *sorted(rows)])
    return manifest


def train(task: Task) -> dict[str, Any]:
    """One run's figures on the test split; those of an earlier call are taken as they are."""
    import vertebra as vb

    folder = Path(task.folder)
    result = folder / f"{task.name}.json"
    if result.is_file():
        found: dict[str, Any] = json.loads(result.read_text())
        return found
    source = "digits"
    if task.images != "all":
        place = folder / f"data-{task.images}-{task.seed}"
        manifest = place / f"digits-{task.images}-{task.seed}.csv"
        source = str(manifest)
    recipe = vb.runs.Recipe.load(
        RECIPE,
        data=source,
        epochs=EPOCHS[task.images],
        seed=task.seed,
        image_size=16,
        **{"data.channels": 1, "padding": 2, "train.threads": 1},
        **ROWS[task.row],
    )
    with tempfile.TemporaryDirectory() as place_of_run:
        run = vb.train.fit(recipe, Path(place_of_run) / "run")
        test, last = run.test, run.epochs[-1]
    assert test is not None
    found = {key: test[key] for key in ("top1", "errors", "images", "loss", "ece")}
    found |= {"row": task.row, "on": task.images, "seed": task.seed}
    found |= {"train_top1": last["train_top1"]}
    result.write_text(json.dumps(found))
    return found


def table(rows: Sequence[str], results: Sequence[dict[str, Any]], images: str) -> list[str]:
    """One Markdown table: mean and standard deviation over the seeds, and the paired difference."""
    of = {(r["row"], r["seed"]): r for r in results if r["on"] == images}
    seeds = sorted({seed for _, seed in of})
    lines = [
        "| | test errors | difference, seed by seed | fewer / more | test loss | ECE |",
        "|---|---|---|---|---|---|",
    ]
    base = next(iter(ROWS))
    for row in rows:
        own = [of[row, seed] for seed in seeds]
        errors = [100 * (1 - r["top1"]) for r in own]
        beside = [100 * (1 - of[base, seed]["top1"]) for seed in seeds]
        gaps = [mine - theirs for mine, theirs in zip(errors, beside, strict=True)]
        fewer, more = sum(gap < 0 for gap in gaps), sum(gap > 0 for gap in gaps)
        loss = statistics.fmean(r["loss"] for r in own)
        calibration = 100 * statistics.fmean(r["ece"] for r in own)
        same = row == base
        lines.append(
            f"| {row} | {_spread(errors)} % | {'' if same else _spread(gaps, '+')} | "
            f"{'' if same else f'{fewer} / {more}'} | {loss:.3f} | {calibration:.1f} % |"
        )
    return lines


def _spread(values: Sequence[float], sign: str = "") -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):{sign}.2f} ± {deviation:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", nargs="+", choices=list(EPOCHS), default=["20"])
    parser.add_argument("--only", nargs="+", default=[], help="parts of the rows' names")
    parser.add_argument("--out", type=Path, help="keep results here, and go on from them")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    base = next(iter(ROWS))
    rows = [
        row
        for row in ROWS
        if row == base or not options.only or any(part in row for part in options.only)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        seeds = range(options.seeds)
        for images in options.images:
            if images != "all":
                for seed in seeds:
                    write_digits(folder / f"data-{images}-{seed}", int(images), seed)
        tasks = [
            Task(row, images, seed, str(folder))
            for images in options.images
            for seed in seeds
            for row in rows
        ]
        results = []
        cores = len(os.sched_getaffinity(0))
        with multiprocessing.get_context("spawn").Pool(cores) as pool:
            for found in pool.imap_unordered(train, tasks):
                results.append(found)
                print(
                    f"{len(results)} of {len(tasks)}: {found['row']}, {found['on']}, seed "
                    f"{found['seed']}: {found['errors']} errors in {found['images']}",
                    flush=True,
                )
    for images in options.images:
        print(f"\ntrained on {'all' if images == 'all' else f'{images} of a class'}:\n")
        print("\n".join(table(rows, results, images)))
    sizes = {
        row: statistics.fmean(
            r["errors"] for r in results if r["row"] == row and r["on"] == options.images[0]
        )
        for row in rows
    }
    best = min(sizes, key=lambda row: sizes[row])
    print(f"\nratio of errors, {best} to {base}: {sizes[best] / max(sizes[base], 1e-9):.2f}")


if __name__ == "__main__":
    main()
