"""Images a second of ``vertebra train`` beside a plain torchvision training loop.

ResNet-18 from scratch on a folder of 64x64 JPEG files made here, the same batch, crops and
optimiser on both sides, every core that this process may use. The plain loop is torchvision's
reference recipe in its simplest form: ImageFolder (Pillow), v1 transforms, ToTensor, Normalize,
float32, DataLoader workers. The two take turns (A B B A ...), each in a child process that trains
an epoch to warm up and is timed on the next. The last line is the ratio of the medians.

The batch is that of the ResNet paper for small images (section 4.2: 128). Smaller ones gain less:
reading and updating the weights then takes more of a step, and that is no arithmetic to be saved.
Images that fit into memory are decoded once; ``--cache-gib 0`` decodes them every epoch.

    python benchmarks/train_throughput.py [--batch 128] [--images 2048] [--rounds 4] [--workers 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision import transforms

import vertebra as vb

SIZE, CLASSES = 64, 8


def make_folder(root: Path, images: int) -> None:
    """Smooth coloured noise as JPEG: it compresses as photographs do, about 2 kB a file."""
    generator = np.random.default_rng(0)
    for split, count in (("train", images), ("val", 64)):
        for index in range(count):
            folder = root / split / f"class{index % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            picture = coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            picture.save(folder / f"{index:05d}.jpg", quality=90)


def ours(root: Path, out: Path, batch: int, cache_gib: float) -> float:
    """Images a second of the second epoch of ``vertebra train``, as its own timing log has it."""
    settings = {"image_size": SIZE, "batch_size": batch, "padding": 8, "flip": "true"}
    settings |= {"warmup": 1, "cache_gib": cache_gib}
    assignments = [part for k, v in settings.items() for part in ("--set", f"{k}={v}")]
    command = ["-m", "vertebra", "train", str(root), "--model", "resnet18", "--epochs", "2"]
    run([*command, *assignments, "--out", str(out), "--quiet"])
    last = (out / "timing.jsonl").read_text().splitlines()[-1]
    return float(json.loads(last)["images_per_second"])


def plain_process(root: Path, batch: int, workers: int) -> float:
    """The plain loop in a process of its own, as ours has one."""
    options = ["--batch", str(batch), "--workers", str(workers)]
    return float(run([__file__, "--plain-on", str(root), *options]))


def run(arguments: list[str]) -> str:
    """Run Python and give what it printed."""
    done = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def plain(root: Path, batch: int, workers: int) -> float:
    """Images a second of the second epoch of the plain loop."""
    torch.set_num_threads(vb.machine.usable_cores())
    steps = transforms.Compose(
        [
            transforms.RandomCrop(SIZE, padding=8),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    dataset = torchvision.datasets.ImageFolder(str(root / "train"), steps)
    loader = torch.utils.data.DataLoader(
        dataset,
        batch,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
    )
    model = torchvision.models.resnet18(num_classes=CLASSES).train()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    rate = 0.0
    for _ in range(2):
        start, seen = time.perf_counter(), 0
        for images, targets in loader:
            output = model(images)
            loss = criterion(output, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            (output.argmax(1) == targets).float().mean().item()
            seen += len(images)
        rate = seen / (time.perf_counter() - start)
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2, help="of the plain loop's DataLoader")
    parser.add_argument("--cache-gib", type=float, default=1, help="of decoded images, ours")
    parser.add_argument("--plain-on", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain_on:
        print(plain(arguments.plain_on, arguments.batch, arguments.workers))
        return
    rates: dict[str, list[float]] = {"vertebra": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        make_folder(root, arguments.images)
        for turn in range(arguments.rounds):
            order = ("vertebra", "plain") if turn % 2 == 0 else ("plain", "vertebra")
            for name in order:
                if name == "vertebra":
                    out = Path(folder) / f"run{turn}"
                    rate = ours(root, out, arguments.batch, arguments.cache_gib)
                else:
                    rate = plain_process(root, arguments.batch, arguments.workers)
                rates[name].append(rate)
                print(f"round {turn + 1}  {name:<9} {rate:7.1f} images/s", flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, value in medians.items():
        print(f"median   {name:<9} {value:7.1f} images/s")
    print(f"ratio {medians['vertebra'] / medians['plain']:.2f}")


if __name__ == "__main__":
    main()
