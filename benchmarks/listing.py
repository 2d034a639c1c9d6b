"""What a million images cost before the first one is decoded: memory and seconds.

Makes folders of class folders with hard links to a few dozen JPEG files, opens each in a process of
its own, deals the splits and computes the fingerprint. Prints seconds, and the peak of private
memory (anonymous pages, sampled; and the highest resident size, libraries included). The last line
is what the large folder adds to the small one.

    python benchmarks/listing.py [--small 10000] [--large 1000000] [--classes 1000] [--where DIR]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

ORIGINALS = 48
MIB = 2**20


def make(root: Path, count: int, classes: int) -> None:
    """``count`` images in ``classes`` folders, named as those of ImageNet are."""
    store = root.parent / "originals"
    if not store.exists():
        store.mkdir()
        generator = np.random.default_rng(0)
        for number in range(ORIGINALS):
            coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(coarse).resize((64, 64)).save(buffer, "JPEG")
            (store / f"{number}.jpg").write_bytes(buffer.getvalue())
    originals = [str(path) for path in sorted(store.iterdir())]
    for label in range(classes):
        folder = root / f"n{label:08d}"
        folder.mkdir(parents=True)
        for number in range(label, count, classes):
            os.link(originals[number % ORIGINALS], f"{folder}/n{label:08d}_{number}.JPEG")


def status(name: str) -> int:
    """A line of the kernel's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def measure(root: Path) -> dict[str, float]:
    """Open the folder here and now."""
    from vertebra.data import Sampling, epoch_order, open_dataset

    peak, done = [0], threading.Event()

    def sample() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], status("RssAnon"))

    watching = threading.Thread(target=sample)
    before = peak[0] = status("RssAnon")
    watching.start()
    start = time.perf_counter()
    dataset = open_dataset(root)
    opened = time.perf_counter()
    assert dataset.card.fingerprint
    printed = time.perf_counter()
    order = epoch_order(dataset.train, Sampling(256), 0, 0)
    ordered = time.perf_counter()
    done.set()
    watching.join()
    return {
        "images": sum(map(len, dataset.splits)),
        "steps": len(order),
        "open_s": opened - start,
        "fingerprint_s": printed - opened,
        "order_s": ordered - printed,
        "imported_mib": before / MIB,
        "peak_mib": peak[0] / MIB,
        "resident_mib": status("VmHWM") / MIB,
    }


def in_child(root: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--where", type=Path, default=None, help="for the folders; a temporary one")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    found = []
    with tempfile.TemporaryDirectory(dir=options.where) as where:
        for count in (options.small, options.large):
            root = Path(where) / str(count)
            start = time.perf_counter()
            make(root, count, options.classes)
            print(f"{count} links made in {time.perf_counter() - start:.1f} s")
            found.append(in_child(root))
            print(", ".join(f"{name} {value:.1f}" for name, value in found[-1].items()))
    small, large = found
    seconds = large["open_s"] + large["fingerprint_s"]
    print(f"{options.large} images opened, divided and fingerprinted in {seconds:.1f} s")
    added = [large[name] - small[name] for name in ("peak_mib", "resident_mib")]
    print(
        f"private memory added over {options.small}: {added[0]:.0f} MiB (resident {added[1]:.0f})"
    )


if __name__ == "__main__":
    main()
