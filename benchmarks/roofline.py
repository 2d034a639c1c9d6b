"""What the roofline says of a network beside what it takes: one image, eager, float32.

The roofline is a model: each map through memory, each layer at its ceiling. How far that is from
the clock, and that it explains why EfficientNet-B0, with a tenth of ResNet-50's multiply-
accumulates, is not ten times as fast.

    python benchmarks/roofline.py [--rounds 15] [--models resnet50,efficientnet_b0]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

import vertebra as vb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", default="resnet50,efficientnet_b0")
    arguments = parser.parse_args()
    torch.set_num_threads(vb.machine.usable_cores())
    roof = vb.machine.measure_roofline()
    nets = {name: vb.zoo.create(name, seed=0).eval() for name in arguments.models.split(",")}
    calls = {name: forward(net) for name, net in nets.items()}
    timings = vb.machine.time_calls(calls, rounds=arguments.rounds, warmup=2)
    print(f"{roof.threads} threads, level at {roof.ridge():.1f} MACs a byte")
    ratios = []
    for name, net in nets.items():
        body = vb.anatomy.dissect(net)
        under = vb.anatomy.bounds(body, roof)
        told, taken = 1e3 * under.seconds, 1e3 * timings[name].p50
        print(
            f"{name:<16} {body.macs / 1e9:6.3f} GMACs  by the roofline {told:6.1f} ms, measured "
            f"{taken:6.1f} ms, {taken / told:.2f} times; {100 * under.memory_share:.0f} % of it "
            "waits for memory"
        )
        ratios.append(taken / told)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"geometric mean: {mean:.2f} times what the roofline says (none below 1)")


def forward(net: nn.Module) -> Callable[[], Tensor]:
    images = torch.zeros(1, *net.input_size)

    def call() -> Tensor:
        with torch.inference_mode():
            return net(images)

    return call


if __name__ == "__main__":
    main()
