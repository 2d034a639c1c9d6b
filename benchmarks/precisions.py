"""Training steps in fp32 and bf16, in both memory layouts: the tables of decisions 0005 and 0015.

Images a second of one step (forward, loss, backward) on random images already in memory, the four
taking turns in one process; in bf16 the convolutions that training keeps in float32 are kept, and
"all in bf16" is without that. The last line is bf16 with channels_last over fp32 with it.

    python benchmarks/precisions.py [--model resnet18] [--size 64] [--batch 64] [--rounds 10]
"""

from __future__ import annotations

import argparse
import functools

import torch
from torch.nn import functional as F

import vertebra as vb
from vertebra.train.float32_convs import keep_convs_in_float32

KINDS = {
    "fp32": (False, torch.contiguous_format),
    "fp32, channels_last": (False, torch.channels_last),
    "bf16": (True, torch.contiguous_format),
    "bf16, channels_last": (True, torch.channels_last),
    "all in bf16, channels_last": (True, torch.channels_last),
}


def step(net: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, bf16: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = net(images)
    net.zero_grad(set_to_none=True)
    F.cross_entropy(logits.float(), labels).backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(vb.machine.usable_cores())
    vb.machine.keep_freed_memory()
    labels = torch.randint(0, 10, (arguments.batch,))
    calls = {}
    for name, (bf16, layout) in KINDS.items():
        net = vb.zoo.create(arguments.model, num_classes=10, seed=0).to(memory_format=layout)
        if name.startswith("bf16"):
            keep_convs_in_float32(net)
        images = torch.randn(arguments.batch, 3, arguments.size, arguments.size)
        images = images.contiguous(memory_format=layout)
        calls[name] = functools.partial(step, net, images, labels, bf16)
    timings = vb.machine.time_calls(calls, rounds=arguments.rounds, warmup=3)
    rates = {name: arguments.batch / timing.p50 for name, timing in timings.items()}
    for name, rate in rates.items():
        print(f"{name:<26} {rate:7.1f} images/s")
    print(f"ratio {rates['bf16, channels_last'] / rates['fp32, channels_last']:.2f}")


if __name__ == "__main__":
    main()
