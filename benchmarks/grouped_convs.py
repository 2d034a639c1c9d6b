"""One grouped convolution, forward and backward, in float32 and bfloat16: what bf16 is slow at.

channels_last maps, gradients of image and weight; the three take turns in one process. "kept" is
what training does where ``needs_float32`` says so: bfloat16 in and out, float32 within. The table
of decision 0015.

    python benchmarks/grouped_convs.py [--batch 32] [--rounds 9]
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

import vertebra as vb
from vertebra.train.float32_convs import needs_float32

# Kernel, stride, map's side, channels.
SHAPES = ((3, 1, 28, 128), (3, 2, 28, 128), (5, 1, 14, 256), (5, 2, 14, 256), (7, 1, 14, 256))
GROUP_WIDTHS = (1, 2, 4, 8, 32)


class Case:
    """One convolution and its data."""

    def __init__(
        self, width: int, kernel: int, stride: int, side: int, channels: int, batch: int
    ) -> None:
        padding, groups = kernel // 2, channels // width
        conv = nn.Conv2d(channels, channels, kernel, stride, padding, groups=groups, bias=False)
        self.conv = conv.to(memory_format=torch.channels_last)
        self.image = self.laid_out(torch.randn(batch, channels, side, side))
        with torch.no_grad():
            self.upper = self.laid_out(torch.randn_like(self.conv(self.image)))

    def laid_out(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) in channels_last."""
        return maps.contiguous(memory_format=torch.channels_last)

    def step(self, kind: str) -> None:
        """Forward and backward."""
        self.conv.weight.grad = None
        image = self.image if kind == "fp32" else self.image.bfloat16()
        image.requires_grad_()
        if kind == "kept":
            out = self.conv(image.float()).bfloat16()
        else:
            with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bf16"):
                out = self.conv(image)
        out.backward(self.upper.to(out.dtype))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(vb.machine.usable_cores())
    vb.machine.keep_freed_memory()
    print("kernel stride  map   channels a group    fp32    bf16    kept  (ms)  kept by the rule")
    for kernel, stride, side, channels in SHAPES:
        for width in GROUP_WIDTHS:
            case = Case(width, kernel, stride, side, channels, options.batch)
            calls = {
                kind: (lambda kind=kind, case=case: case.step(kind))
                for kind in ("fp32", "bf16", "kept")
            }
            times = vb.machine.time_calls(calls, rounds=options.rounds, warmup=3)
            rule = "yes" if needs_float32(case.conv, (side, side)) else "no"
            shown = "  ".join(f"{1000 * times[kind].p50:6.1f}" for kind in calls)
            print(
                f"{kernel:>6} {stride:>6} {side:>4} {width:>18}  {shown}        {rule}", flush=True
            )


if __name__ == "__main__":
    main()
