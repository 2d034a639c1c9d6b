"""Taking networks apart: ours beside fvcore's count of parameters and operations.

Both on the same built network of the zoo, imports and construction excluded; ours finds parameters,
MACs of every layer and receptive fields, fvcore its parameters and operations. The two take turns
in one process. Memory: how much the process grows while ViT-H/14, 632 million parameters without
numbers, is taken apart, in a process of its own.

    python benchmarks/anatomy_speed.py [--rounds 7] [--models resnet50,swin_b]
"""

from __future__ import annotations

import argparse
import logging
import math
import subprocess
import sys
import warnings

import torch
from fvcore.nn import FlopCountAnalysis, parameter_count
from torch import nn

import vertebra as vb

MODELS = "resnet50,efficientnet_b4,vit_l_16,swin_b"
GROWTH = """
import gc, psutil, torch
import vertebra as vb
with torch.device("meta"):
    net = vb.zoo.create("vit_h_14")
    small = vb.zoo.create("vit_ti_16")
process = psutil.Process()
vb.anatomy.dissect(small).receptive_field  # what loads on first use is loaded
before = process.memory_info().rss
body = vb.anatomy.dissect(net)
assert body.macs and body.params and body.receptive_field and body.layers
print((process.memory_info().rss - before) / 2**20)
"""


def ours(net: nn.Module) -> None:
    body = vb.anatomy.dissect(net)
    assert body.params > 0
    assert body.macs > 0
    assert body.receptive_field is not None


def theirs(net: nn.Module, images: torch.Tensor) -> None:
    analysis = FlopCountAnalysis(net, images).unsupported_ops_warnings(False)
    assert analysis.uncalled_modules_warnings(False).total() > 0
    assert parameter_count(net)[""] > 0


def ratio(name: str, rounds: int) -> float:
    net = vb.zoo.create(name, seed=0).eval()
    images = torch.zeros(1, *net.input_size)
    with torch.no_grad():
        timings = vb.machine.time_calls(
            {"ours": lambda: ours(net), "theirs": lambda: theirs(net, images)},
            rounds=rounds,
            warmup=2,
        )
    mine, other = timings["ours"].p50, timings["theirs"].p50
    print(
        f"{name:<16} {1e3 * mine:7.1f} and {1e3 * other:7.1f} ms: {other / mine:.2f} times faster"
    )
    return other / mine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", default=MODELS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    torch.set_num_threads(vb.machine.usable_cores())
    ratios = [ratio(name, arguments.rounds) for name in arguments.models.split(",")]
    grown = subprocess.run(
        [sys.executable, "-c", GROWTH], check=True, capture_output=True, text=True
    )
    print(f"vit_h_14: memory grows by {float(grown.stdout):.1f} MiB (at most 200)")
    print(f"slowest: {min(ratios):.2f} times faster than fvcore (at least 1)")
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"geometric mean: {mean:.2f} times faster than fvcore (at least 2)")


if __name__ == "__main__":
    main()
