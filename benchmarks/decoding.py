"""Who decodes faster, and who survives damage: the figures of decision 0006.

JPEG files of one size through torchvision, simplejpeg and Pillow, in turns on one core. Then PNG
files with one flipped bit through torchvision's decoder, each in a process of its own, since the
decoder ends some. The last line is Pillow's time for JPEG over that of what we use, simplejpeg.

    python benchmarks/decoding.py [--width 64] [--height 64] [--damaged 720]
"""

from __future__ import annotations

import argparse
import io
import os
import resource

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg, decode_png

import vertebra as vb

FILES = 50


def picture(generator: np.random.Generator, size: tuple[int, int], kind: str) -> bytes:
    """Smooth coloured noise, which compresses as photographs do."""
    coarse = Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    coarse.resize(size, Image.Resampling.BICUBIC).save(buffer, kind, quality=90)
    return buffer.getvalue()


def with_torchvision(files: list[bytes]) -> None:
    for content in files:
        data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        decode_jpeg(data, mode=ImageReadMode.RGB, apply_exif_orientation=True)


def with_simplejpeg(files: list[bytes]) -> None:
    for content in files:
        torch.from_numpy(simplejpeg.decode_jpeg(content, "RGB"))


def with_pillow(files: list[bytes]) -> None:
    for content in files:
        torch.from_numpy(np.array(Image.open(io.BytesIO(content)).convert("RGB")))


def dies_of(content: bytes) -> bool:
    """Whether torchvision's decoder ends the process that reads this PNG file."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            decode_png(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) < 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--damaged", type=int, default=720)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    deaths = 0
    for _ in range(arguments.damaged):
        spoilt = bytearray(picture(generator, (24, 24), "PNG"))
        spoilt[generator.integers(0, len(spoilt))] ^= 1 << int(generator.integers(0, 8))
        deaths += dies_of(bytes(spoilt))
    whole = sum(dies_of(picture(generator, (24, 24), "PNG")) for _ in range(FILES))
    print(f"torchvision's PNG decoder ends {deaths} of {arguments.damaged} processes")
    print(f"and {whole} of {FILES} with files that are whole")
    size = arguments.width, arguments.height
    files = [picture(generator, size, "JPEG") for _ in range(FILES)]
    calls = {
        "torchvision": lambda: with_torchvision(files),
        "simplejpeg": lambda: with_simplejpeg(files),
        "Pillow": lambda: with_pillow(files),
    }
    times = vb.machine.time_calls(calls, rounds=20)
    for name, timing in times.items():
        print(f"{name:<12} {1e6 * timing.p50 / FILES:7.1f} us a JPEG file of {size[0]}x{size[1]}")
    print(f"ratio {times['Pillow'].p50 / times['simplejpeg'].p50:.2f}")


if __name__ == "__main__":
    main()
