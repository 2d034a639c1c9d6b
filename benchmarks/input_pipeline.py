"""From JPEG bytes to the pixels of a training batch: ours beside torchvision on Pillow and timm.

Photographs of 500x375 (crops of the two that scikit-learn ships, quality 90) are decoded, cut at
random, resized with antialiasing and mirrored, all on one core in one process, in turns. The
references draw the same boxes and mirrors, so that pixels can be compared. timm's own training
transform also jitters colours by 0.4, which its defaults do; ours is timed with that too. The last
line is how many times torchvision's images a second ours makes.

    python benchmarks/input_pipeline.py [--size 224] [--decode full] [--rounds 15]
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torchvision.transforms.functional as tvf
from PIL import Image
from sklearn.datasets import load_sample_images
from timm.data import create_transform
from torch import Tensor
from torchvision.transforms import RandomResizedCrop

import vertebra as vb
from vertebra.core import Preprocessing
from vertebra.data.augment import augmentation, scaled_augmentation
from vertebra.data.decode import decode_bytes
from vertebra.runs.recipe import AugmentSection

WIDTH, HEIGHT = 500, 375
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def photographs(count: int) -> list[bytes]:
    """JPEG files of random parts of two photographs: noise would decode unlike pictures."""
    generator = np.random.default_rng(0)
    originals = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    files = []
    for number in range(count):
        original = originals[number % len(originals)]
        width = int(generator.integers(420, original.width))
        height = width * HEIGHT // WIDTH
        left = int(generator.integers(0, original.width - width + 1))
        top = int(generator.integers(0, max(1, original.height - height + 1)))
        part = original.crop((left, top, left + width, top + height))
        buffer = io.BytesIO()
        part.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


def with_pillow(content: bytes, size: int) -> Tensor:
    """torchvision's transforms on Pillow's image, as its reference scripts have them."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    box = RandomResizedCrop.get_params(image, list(SCALE), list(RATIO))
    image = tvf.resized_crop(image, *box, [size, size], antialias=True)
    if torch.rand(1) < 0.5:
        image = tvf.hflip(image)
    pixels: Tensor = tvf.pil_to_tensor(image)
    return pixels


def pipelines(size: int) -> dict[str, Callable[[bytes], Tensor]]:
    preprocessing = Preprocessing(size, size, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    plain = AugmentSection(crop="resized", scale=SCALE, ratio=RATIO, flip=True)
    full, scaled = augmentation(plain, preprocessing), scaled_augmentation(plain, preprocessing)
    jittered = plain.model_copy(update={"jitter": 0.4})
    full_jittered = augmentation(jittered, preprocessing)
    scaled_jittered = scaled_augmentation(jittered, preprocessing)
    # What timm.data.create_loader makes for training: uint8, normalised on the device.
    timms = {
        name: create_transform(size, is_training=True, use_prefetcher=True, color_jitter=jitter)
        for name, jitter in (("timm without jitter", None), ("timm", 0.4))
    }

    def with_timm(content: bytes, name: str) -> Tensor:
        pixels: Tensor = timms[name](Image.open(io.BytesIO(content)).convert("RGB"))
        return pixels

    return {
        "pillow": lambda content: with_pillow(content, size),
        "full": lambda content: full(decode_bytes(content, "file")),
        "scaled": lambda content: scaled(content, "file"),
        "timm without jitter": lambda content: with_timm(content, "timm without jitter"),
        "timm": lambda content: with_timm(content, "timm"),
        "full with jitter": lambda content: full_jittered(decode_bytes(content, "file")),
        "scaled with jitter": lambda content: scaled_jittered(content, "file"),
    }


def views(files: list[bytes], pipeline: Callable[[bytes], Tensor]) -> list[Tensor]:
    made = []
    for number, content in enumerate(files):
        torch.default_generator.manual_seed(number)
        made.append(pipeline(content))
    return made


def difference(ours: list[Tensor], theirs: list[Tensor]) -> str:
    pairs = zip(ours, theirs, strict=True)
    apart = torch.cat([(one.int() - other.int()).abs().flatten() for one, other in pairs])
    return f"mean {apart.float().mean():.3f}, at most {int(apart.max())} of 255"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--decode", choices=("full", "scaled"), default="full")
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files = photographs(arguments.files)
    made = pipelines(arguments.size)
    reference = views(files, made["pillow"])
    for name in ("full", "scaled"):
        print(f"{name} from Pillow's pixels: {difference(views(files, made[name]), reference)}")
    calls = {name: (lambda run=run: views(files, run)) for name, run in made.items()}
    times = vb.machine.time_calls(calls, rounds=arguments.rounds)
    for name, timing in times.items():
        print(f"{name:<20} {arguments.files / timing.p50:7.0f} images/s at {arguments.size}")
    print(f"ratio {times['pillow'].p50 / times[arguments.decode].p50:.2f}")


if __name__ == "__main__":
    main()
