"""Images a second and peak memory of ``vertebra train`` beside timm's training loop.

One folder of 2 000 JPEG files of 500x375, crops of two photographs, made here; the same network,
batch, image size, augmentation (random resized crop of 8 to 100 % of the area, flip, colour jitter
of 0.4), optimiser and cores. timm's side is its train script's loop from the parts in the installed
package: reader, transforms, prefetching loader with worker processes, optimiser, label smoothing.
It runs twice: with timm's defaults (float32), and with bfloat16 autocast and channels_last switched
on. Ours runs with ``--tune`` and keeps decoded images in memory, as it does by default. On a CPU
without bfloat16 instructions PyTorch emulates them, which makes timm's second side a lame one:
``--no-amp`` leaves it out.

All sides take turns, each in a process of its own that trains one epoch to warm up and is timed on
the next. Peak memory is the largest sum of proportional set sizes of the process and its children.
The last two lines are the geometric means of the ratios.

    python benchmarks/train_vs_timm.py [--rounds 3] [--batch 64] [--images 2000] [--no-amp]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

SUBJECTS = (("resnet18", 128), ("mobilenet_v2", 96), ("convnext_atto", 96))
TIMM_NAMES = {"mobilenet_v2": "mobilenetv2_100"}
SIDES = ("vertebra", "timm", "timm-amp")
CLASSES = 10


def make_folder(root: Path, images: int) -> None:
    """Crops of scikit-learn's two sample photographs: noise decodes unlike a photograph."""
    from sklearn.datasets import load_sample_images

    photographs = [Image.fromarray(array) for array in load_sample_images().images]
    generator = np.random.default_rng(0)
    for split, count in (("train", images), ("val", 64)):
        for index in range(count):
            folder = root / split / f"class{index % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            photograph = photographs[index % len(photographs)]
            width = int(generator.integers(320, photograph.width))
            height = min(width * 3 // 4, photograph.height)
            left = int(generator.integers(0, photograph.width - width + 1))
            top = int(generator.integers(0, photograph.height - height + 1))
            box = (left, top, left + width, top + height)
            picture = photograph.resize((500, 375), Image.Resampling.BICUBIC, box=box)
            picture.save(folder / f"{index:05d}.jpg", quality=90)


def ours(root: Path, model: str, size: int, batch: int, out: Path, jitter: float) -> float:
    """Images a second of the second epoch, as the run's own timing log has it.

    The run is told to take a hundred epochs and stopped after two: how long it is decides whether
    ``--tune`` looks at compilation at all.
    """
    settings = {
        **{"image_size": size, "batch_size": batch, "crop": "resized", "scale": [0.08, 1.0]},
        **{"flip": True, "jitter": jitter, "label_smoothing": 0.1, "nesterov": False},
        **{"weight_decay": 2e-5, "warmup": 0, "cache_gib": 2},
    }
    assignments = [part for k, v in settings.items() for part in ("--set", f"{k}={v}")]
    command = ["-m", "vertebra", "train", str(root), "--model", model, "--epochs", "100", "--tune"]
    command += [*assignments, "--out", str(out)]
    timing = out / "timing.jsonl"
    with (out.parent / f"{out.name}.log").open("w+") as log:
        process = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log)
        while not timing.is_file() or timing.read_text().count("\n") < 2:
            if process.poll() is not None:
                log.seek(0)
                raise SystemExit(log.read())
            time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        process.wait()
        log.seek(0)
        chosen = [line for line in log.read().splitlines() if line.startswith("fastest here")]
        print(f"  {chosen[-1]}", flush=True)
    return float(json.loads(timing.read_text().splitlines()[1])["images_per_second"])


def timm_epochs(
    root: Path, model: str, size: int, batch: int, workers: int, amp: bool, jitter: float
) -> float:
    """Images a second of the second epoch of timm's loop."""
    import timm
    import torch
    from timm.data import create_dataset, create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.utils import AverageMeter

    import vertebra as vb

    torch.set_num_threads(vb.machine.usable_cores())
    device = torch.device("cpu")
    net = timm.create_model(TIMM_NAMES.get(model, model), num_classes=CLASSES).to(device)
    if amp:
        net = net.to(memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(net, opt="sgd", lr=0.05, momentum=0.9, weight_decay=2e-5)
    loader = create_loader(
        create_dataset("", root=str(root), split="train", is_training=True),
        input_size=(3, size, size),
        batch_size=batch,
        is_training=True,
        color_jitter=jitter or None,
        num_workers=workers,
        device=device,
        persistent_workers=True,
    )
    criterion = LabelSmoothingCrossEntropy(0.1)
    losses = AverageMeter()
    rate = 0.0
    for _ in range(2):
        net.train()
        start, seen = time.perf_counter(), 0
        for images, targets in loader:
            if amp:
                images = images.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=amp):
                loss = criterion(net(images), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.update(loss.item(), len(images))
            seen += len(images)
        rate = seen / (time.perf_counter() - start)
    return rate


def run(arguments: list[str]) -> str:
    """Run Python and give what it printed."""
    done = subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


@contextlib.contextmanager
def peak_memory(found: list[float]):
    """Appends the most memory, in MiB, of this process's children at any time in the block."""
    stop = threading.Event()
    peak = 0.0

    def watch() -> None:
        nonlocal peak
        pause = 0.25
        while not stop.wait(pause):
            began, total = time.perf_counter(), 0
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_full_info().pss
            peak = max(peak, total / 2**20)
            # The kernel walks every page for this and holds up the process: a fiftieth of the time.
            pause = max(0.25, 50 * (time.perf_counter() - began))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield
    stop.set()
    watcher.join()
    found.append(peak)


def measure(side: str, root: Path, model: str, size: int, place: Path, options: argparse.Namespace):
    """(images a second, MiB) of one side in a process of its own."""
    memory: list[float] = []
    with peak_memory(memory):
        if side == "vertebra":
            jitter = 0.0 if options.no_jitter else 0.4
            rate = ours(root, model, size, options.batch, place, jitter)
        else:
            arguments = ["--child", side, "--on", str(root), "--model", model, "--size", str(size)]
            arguments += ["--batch", str(options.batch), "--workers", str(options.workers)]
            arguments += ["--no-jitter"] if options.no_jitter else []
            rate = float(run([__file__, *arguments]))
    return rate, memory[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2, help="of timm's loader")
    parser.add_argument("--no-jitter", action="store_true", help="of colours, on both sides")
    parser.add_argument("--no-amp", action="store_true", help="leave timm in bfloat16 out")
    parser.add_argument("--only", help="one of the networks")
    for hidden in ("--child", "--on", "--model", "--size"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        jitter = 0.0 if options.no_jitter else 0.4
        subject = (Path(options.on), options.model, int(options.size), options.batch)
        print(timm_epochs(*subject, options.workers, options.child == "timm-amp", jitter))
        return
    sides = SIDES[:2] if options.no_amp else SIDES
    ratios: dict[str, list[float]] = {side: [] for side in sides[1:]}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        make_folder(root, options.images)
        for model, size in SUBJECTS:
            if options.only not in (None, model):
                continue
            rates: dict[str, list[float]] = {side: [] for side in sides}
            memory: dict[str, list[float]] = {side: [] for side in sides}
            for turn in range(options.rounds):
                for side in sides if turn % 2 == 0 else reversed(sides):
                    place = Path(folder) / f"{model}-{turn}"
                    rate, peak = measure(side, root, model, size, place, options)
                    rates[side].append(rate)
                    memory[side].append(peak)
                    print(
                        f"{model} at {size}  {side:<9} {rate:7.1f} images/s  {peak:6.0f} MiB",
                        flush=True,
                    )
            own = statistics.median(rates["vertebra"])
            for side in sides[1:]:
                ratio = own / statistics.median(rates[side])
                ratios[side].append(ratio)
                less = statistics.median(memory[side]) / statistics.median(memory["vertebra"])
                print(
                    f"{model} at {size}  {ratio:.2f} times {side}, memory 1/{less:.2f}", flush=True
                )
    names = {"timm": "timm with its defaults", "timm-amp": "timm with bf16 and channels_last"}
    for side, found in ratios.items():
        mean = math.exp(statistics.fmean(math.log(value) for value in found))
        print(f"ratio to {names[side]}: {mean:.2f}")


if __name__ == "__main__":
    main()
