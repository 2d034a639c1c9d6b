"""Our networks beside torchvision's: time of a forward, peak memory of a training step.

Forward: evaluation, float32, images in the plain layout, batch 1 and 8, the two taking turns in one
process; a ratio is ours over theirs, of medians. Memory: the highest sum of live allocations of one
training step (SGD) that PyTorch's profiler sees, parameters not counted, at batch 8.

    python benchmarks/zoo_speed.py [--rounds 20] [--models resnet50,swin_t] [--no-memory]
"""

from __future__ import annotations

import argparse
import functools
import math

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import vertebra as vb

MODELS = "resnet50,densenet121,efficientnet_b0,vit_b_16,swin_t,convnext_tiny"
BATCHES = (1, 8)
SIZE = 224


def pair(name: str) -> dict[str, nn.Module]:
    """Both networks with torchvision's weights as it initialises them."""
    theirs = torchvision.models.get_model(name)
    ours = vb.zoo.create(name, seed=0)
    vb.zoo.load_foreign(ours, theirs.state_dict())
    return {"ours": ours, "theirs": theirs}


@torch.inference_mode()
def forward(net: nn.Module, images: Tensor) -> Tensor:
    return net(images)


def time_ratio(nets: dict[str, nn.Module], batch: int, rounds: int) -> tuple[float, float, float]:
    """(seconds of ours, of theirs, ratio)."""
    images = torch.randn(batch, 3, SIZE, SIZE)
    calls = {side: functools.partial(forward, net.eval(), images) for side, net in nets.items()}
    first, second = (call() for call in calls.values())
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)
    timings = vb.machine.time_calls(calls, rounds=rounds, warmup=3)
    ours, theirs = timings["ours"].p50, timings["theirs"].p50
    return ours, theirs, ours / theirs


def training_peak(net: nn.Module, batch: int = 8) -> int:
    """Bytes that one step of training needs at once, above what lived before."""
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    images, labels = torch.randn(batch, 3, SIZE, SIZE), torch.randint(0, 1000, (batch,))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()

    step()
    optimizer.zero_grad(set_to_none=True)
    with torch.profiler.profile(profile_memory=True) as profile:
        step()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    optimizer.zero_grad(set_to_none=True)
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--no-memory", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(vb.machine.usable_cores())
    torch.manual_seed(0)
    ratios: list[float] = []
    memory: list[float] = []
    for name in arguments.models.split(","):
        nets = pair(name)
        for batch in BATCHES:
            ours, theirs, ratio = time_ratio(nets, batch, arguments.rounds)
            ratios.append(ratio)
            print(f"{name:<16} batch {batch}: {1e3 * ours:7.1f} and {1e3 * theirs:7.1f} ms", end="")
            print(f"  ratio {ratio:.3f}", flush=True)
        if not arguments.no_memory:
            ours, theirs = (training_peak(net) for net in nets.values())
            memory.append(ours / theirs)
            print(f"{name:<16} training: {ours / 2**20:7.1f} and {theirs / 2**20:7.1f} MiB", end="")
            print(f"  ratio {ours / theirs:.3f}", flush=True)
    if memory:
        print(f"memory: worst ratio {max(memory):.3f}")
    print(f"time: worst ratio {max(ratios):.3f}")
    mean = math.exp(sum(math.log(ratio) for ratio in ratios) / len(ratios))
    print(f"time: geometric mean of ratios {mean:.3f}")


if __name__ == "__main__":
    main()
