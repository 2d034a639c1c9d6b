"""Images a second of a training step on a GPU, its share of the measured peak, beside timm's step.

ResNet-50 at 224 pixels, bfloat16, channels_last, compiled. Two inputs: the same batch of random
uint8 pixels at every step (what the step itself costs), and batches cut, flipped and stacked from
decoded images that are kept in memory (what a run gets). timm's side is its own network under
autocast, compiled, with its optimiser, on a batch that lies on the GPU already. All sides take
turns in one process. The peak is the best of large bfloat16 matrix products, and a training step is
counted as the multiply-accumulates of forward and backward (``vertebra show``).

Without a GPU it stops; ``--device cpu`` with a small network shows that it runs. The last line is
the ratio of our step to timm's, both on a batch that is there.

    python benchmarks/train_gpu.py [--model resnet50] [--size 224] [--batch 256] [--rounds 30]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import vertebra as vb
from vertebra.data import Batch
from vertebra.runs import Recipe
from vertebra.train.job import Job
from vertebra.train.loop import batches_of
from vertebra.train.own_data import dataset_of
from vertebra.train.rehearse import rehearsal, synthetic_batches
from vertebra.train.rules import resolve
from vertebra.train.step import train_step

CLASSES = 10


def make_folder(root: Path, images: int, size: int) -> None:
    """Smooth coloured noise, a little larger than what is cut from it."""
    generator = np.random.default_rng(0)
    side = size * 9 // 8
    for split, count in (("train", images), ("val", CLASSES)):
        for index in range(count):
            folder = root / split / f"class{index % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(generator.integers(0, 256, (24, 24, 3), dtype=np.uint8))
            coarse.resize((side, side)).save(folder / f"{index:05d}.jpg", quality=90)


def peak_macs(device: torch.device, precision: torch.dtype, side: int) -> float:
    """Multiply-accumulates a second of the fastest of twenty square matrix products."""
    left, right = (torch.randn(side, side, device=device).to(precision) for _ in range(2))
    return side**3 / min(timed(lambda: torch.mm(left, right), device) for _ in range(20))


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds until the device has finished what ``call`` asks of it."""
    wait(device)
    start = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def endless(job: Job) -> Iterator[list[Batch]]:
    """The run's batches, epoch after epoch."""
    batches = batches_of(job)
    for epoch in itertools.count():
        yield from batches(epoch)


def timm_step(model: str, batch: int, size: int, device: torch.device, compiled: bool):
    """A step of timm's loop on a batch that lies on the device."""
    import timm
    from timm.optim import create_optimizer_v2

    net = timm.create_model(model, num_classes=CLASSES).to(device).train()
    net = net.to(memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(net, opt="sgd", lr=0.05, momentum=0.9, weight_decay=2e-5)
    forward = torch.compile(net) if compiled else net
    images = torch.randn(batch, 3, size, size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (batch,), device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--workers", type=int, help="that read images; the rule's if not given")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--eager", action="store_true", help="compile neither side")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU here; --device cpu runs, and says nothing about one")
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder), 4 * options.batch, options.size)
        recipe = Recipe.load(
            "imagenet-v1",
            data=folder,
            model=options.model,
            **{"batch_size": options.batch, "image_size": options.size, "device": options.device},
            **{"precision": "bf16", "channels_last": True, "compile": not options.eager},
            **{"workers": options.workers, "warmup": 0},
        )
        dataset = dataset_of(recipe)
        resolved = resolve(recipe, dataset, vb.machine.describe())
        with rehearsal(resolved, dataset) as job:
            same, kept = synthetic_batches(job), endless(job)
            sides: dict[str, Callable[[], object]] = {
                "ours, one batch": lambda: train_step(job, same, options.batch),
                "ours, kept images": lambda: train_step(job, next(kept), options.batch),
                "timm, one batch": timm_step(
                    options.model, options.batch, options.size, device, not options.eager
                ),
            }
            seconds: dict[str, list[float]] = {side: [] for side in sides}
            for turn in range(5 + options.rounds):
                for side in sides if turn % 2 == 0 else reversed(sides):
                    taken = timed(sides[side], device)
                    if turn >= 5:
                        seconds[side].append(taken)
        body = vb.anatomy.dissect(
            vb.zoo.create(options.model, num_classes=CLASSES), (3, options.size, options.size)
        )
    macs = body.macs + (body.backward_macs or 0)
    peak = peak_macs(device, torch.bfloat16, 8192 if device.type == "cuda" else 512)
    print(f"{name}, PyTorch {torch.__version__}, peak {2e-12 * peak:.1f} TFLOP/s in bfloat16")
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    for side, median in medians.items():
        rate = options.batch / median
        print(f"{side:<18} {rate:8.1f} images/s  {100 * rate * macs / peak:5.1f} % of the peak")
    print(f"ratio {medians['timm, one batch'] / medians['ours, one batch']:.2f}")


if __name__ == "__main__":
    main()
