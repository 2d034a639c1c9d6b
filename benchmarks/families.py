"""The tables of docs/benchmarks.md, from what ``vertebra bench --suite families`` measured here.

Eager PyTorch in fp32 beside the fastest engine and precision, one image; how well parameters,
multiply-accumulates, bytes and the roofline order the measured times; the error of the model that
``vertebra choose`` predicts unmeasured networks by; and what holds of some sayings. The last line
is that error over the one of a regression on multiply-accumulates alone.

    vertebra bench --suite families && python benchmarks/families.py [--store URL] [--csv FILE]

``--csv`` writes what was measured, a line each.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from scipy.stats import spearmanr

import vertebra as vb
from vertebra.bench.listed import listed_at_own_size
from vertebra.choice.commands import TRAINED_BY
from vertebra.choice.cost_model import Example, by_macs, left_out_errors
from vertebra.choice.rivals import DRIFT
from vertebra.choice.ways import way, way_taken
from vertebra.evidence import Conditions, Evidence, Measurement
from vertebra.machine import Machine

EAGER, BF16 = ("eager", "fp32"), ("openvino", "bf16")
Times = Mapping[tuple[str, str], Measurement]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store")
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    machine = vb.machine.describe()
    everything = measured(arguments.store, machine)
    if arguments.csv:
        steps = measured(arguments.store, machine, "train", layout="channels_last")
        write_csv({"stream": everything, "train": steps}, arguments.csv)
    nets = {name: own for name, own in everything.items() if EAGER in own}
    print(f"{len(nets)} networks on {machine.processor}, {machine.cores} cores\n")
    for line in (*times(nets), "", *orders(nets), "", *sayings(nets), ""):
        print(line)
    print(two_times(arguments.store, machine))
    ratios = [
        ratio for setting in (EAGER, BF16) if (ratio := predicted(everything, setting)) is not None
    ]
    print(f"largest ratio of the errors: {max(ratios, default=float('nan')):.2f}")


def measured(
    store: str | None, machine: Machine, workload: str = "stream", layout: str = "contiguous"
) -> dict[str, Times]:
    """By network and setting the newest of each, on all cores: calls of one image, steps of 32."""
    found: dict[str, dict[tuple[str, str], Measurement]] = {}
    batch = 1 if workload == "stream" else TRAINED_BY
    with Evidence(store) as evidence:
        some = evidence.measurements(machine=machine.fingerprint, workload=workload, batch=batch)
    asked = [m for m in some if _is_asked_for(m.conditions, machine, layout)]
    for own in _by_setting(asked).values():
        taken = way_taken([m.conditions for m in own])
        for m in reversed(own):
            entry = listed_at_own_size(m)
            if entry is not None and way(m.conditions) == taken:
                found.setdefault(entry.name, {})[m.conditions.engine, m.conditions.precision] = m
    return {name: found[name] for name in vb.zoo.list_models() if name in found}


def _is_asked_for(c: Conditions, machine: Machine, layout: str) -> bool:
    return c.layout == layout and c.threads == machine.cores and c.device == "cpu"


def _by_setting(some: Sequence[Measurement]) -> dict[tuple[str, str], list[Measurement]]:
    found: dict[tuple[str, str], list[Measurement]] = {}
    for m in some:
        found.setdefault((m.conditions.engine, m.conditions.precision), []).append(m)
    return found


def write_csv(by_workload: Mapping[str, Mapping[str, Times]], path: Path) -> None:
    """A line a measurement: seconds, bytes, images a second."""
    fields = "p50 p90 low high floor images_per_second memory file".split()
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["model", "workload", "batch", "engine", "precision", *fields])
        for workload, nets in by_workload.items():
            for model, own in nets.items():
                for (engine, precision), m in sorted(own.items()):
                    numbers = [m.p50, m.p90, *m.interval, m.floor, m.images_per_second]
                    shown = [f"{number:.4g}" for number in numbers]
                    setting = [workload, m.conditions.batch, engine, precision]
                    rows.writerow([model, *setting, *shown, m.memory, m.file])


def two_times(store: str | None, machine: Machine) -> str:
    """How far apart the first and the last time of a cell are that was measured again."""
    cells: dict[str, list[Measurement]] = {}
    with Evidence(store) as evidence:
        some = evidence.measurements(
            machine=machine.fingerprint, workload="stream", batch=1, latest=False
        )
    for m in reversed(some):
        c = m.conditions
        if listed_at_own_size(m) is not None and c.threads == machine.cores:
            cells.setdefault(c.key, []).append(m)
    apart = sorted(
        max(own[-1].p50 / own[0].p50, own[0].p50 / own[-1].p50) - 1
        for own in cells.values()
        if own[-1].extra.get("turns") != own[0].extra.get("turns")
    )
    if not apart:
        return "no cell was measured twice\n"
    return (
        f"{len(apart)} cells were measured again: half differ by "
        f"{100 * statistics.median(apart):.0f} % or more, {sum(x > DRIFT for x in apart)} by more "
        f"than {100 * DRIFT:.0f} %, the worst by {100 * apart[-1]:.0f} %\n"
    )


def fastest(own: Times) -> Measurement:
    """Of those whose answers hold."""
    return min((m for m in own.values() if not m.cost_only), key=lambda m: m.p50)


def times(nets: Mapping[str, Times]) -> Iterator[str]:
    columns = ["network", "M params", "GMACs", "eager fp32: p50 (99 %), p90", "fastest"]
    yield f"| {' | '.join([*columns, 'p50, p90', 'times', 'int8, cost only'])} |"
    yield "|---|--:|--:|--:|---|--:|--:|--:|"
    for name, own in nets.items():
        entry, eager, best = vb.zoo.get(name), own[EAGER], fastest(own)
        low, high = eager.interval
        int8 = min((m.p50 for m in own.values() if m.cost_only), default=None)
        yield (
            f"| {name} | {served(name) / 1e6:.1f} | {entry.macs / 1e9:.2f} | {ms(eager.p50)} "
            f"({ms(low)} to {ms(high)}), {ms(eager.p90)} | {best.conditions.engine} "
            f"{best.conditions.precision} | {ms(best.p50)}, {ms(best.p90)} | "
            f"{eager.p50 / best.p50:.1f} | {ms(int8) if int8 else '-'} |"
        )


def orders(nets: Mapping[str, Times]) -> Iterator[str]:
    """Spearman's correlation with the measured time."""
    roof = vb.machine.measure_roofline()
    told: dict[str, Callable[[str], float]] = {
        "parameters": served,
        "multiply-accumulates": lambda name: vb.zoo.get(name).macs,
        "bytes moved": lambda name: sum(part[1] for part in vb.zoo.get(name).work.values()),
        "roofline": lambda name: _by_roofline(name, roof),
    }
    yield "| told by | eager fp32 | openvino bf16 |"
    yield "|---|--:|--:|"
    for what, of in told.items():
        cells = []
        for setting in (EAGER, BF16):
            names = [name for name, own in nets.items() if setting in own]
            took = [nets[name][setting].p50 for name in names]
            cells.append(f"{spearmanr([of(name) for name in names], took).statistic:.2f}")
        yield f"| {what} | {' | '.join(cells)} |"


def served(name: str) -> int:
    """Parameters without the auxiliary heads, which only training has."""
    entry = vb.zoo.get(name)
    return entry.params - entry.aux_params


def _by_roofline(name: str, roof: vb.machine.Roofline) -> float:
    import torch

    with torch.device("meta"):
        body = vb.anatomy.dissect(vb.zoo.create(name, seed=0))
    return vb.anatomy.bounds(body, roof).seconds


def predicted(nets: Mapping[str, Times], setting: tuple[str, str]) -> float | None:
    """Median relative error on families left out, over that by multiply-accumulates alone."""
    examples = [
        Example(name, vb.zoo.get(name).family, vb.zoo.get(name).work, own[setting].p50)
        for name, own in nets.items()
        if setting in own
    ]
    if len(examples) < 12:
        return None
    ours, macs = left_out_errors(examples), left_out_errors(examples, by_macs)
    error, plain = (statistics.median(found.values()) for found in (ours, macs))
    worst = sorted(ours.items(), key=lambda item: -item[1])[:5]
    print(
        f"{' '.join(setting)}: {len(examples)} networks; median error of a family left out "
        f"{100 * error:.1f} %, by MACs alone {100 * plain:.1f} %, a ratio of {error / plain:.2f}; "
        f"worst: {', '.join(f'{name} {100 * e:.0f} %' for name, e in worst)}"
    )
    return error / plain


def sayings(nets: Mapping[str, Times]) -> Iterator[str]:
    """What is said of pairs of networks, beside the measured ratio in every setting."""
    yield "| said | setting | measured |"
    yield "|---|---|--:|"
    for said, slow, quick in SAYINGS:
        if slow not in nets or quick not in nets:
            continue
        for setting in sorted(nets[slow]):
            if setting in nets[quick]:
                a, b = nets[slow][setting], nets[quick][setting]
                yield (
                    f"| {said} | {' '.join(setting)} | {ms(a.p50)} / {ms(b.p50)} = "
                    f"{a.p50 / b.p50:.2f} |"
                )


SAYINGS: Sequence[tuple[str, str, str]] = (
    (
        "VGG-16 takes 6.7 times EfficientNet-B4's time (600, 90 ms)",
        "vgg16",
        "efficientnet_b4",
    ),
    ("EfficientNet-B4 is far slower than ResNet-50 on a CPU", "efficientnet_b4", "resnet50"),
    ("EfficientNet-B0 is slower than ResNet-50 (said of a GPU)", "efficientnet_b0", "resnet50"),
    ("VGG-16 is far slower than ResNet-50", "vgg16", "resnet50"),
    ("ViT-S is slower than ResNet-50", "vit_s_16", "resnet50"),
    ("Swin-T is slower than ConvNeXt-T", "swin_t", "convnext_tiny"),
    ("MobileNet v3 is faster than v2", "mobilenet_v3_large", "mobilenet_v2"),
    ("MobileViT-S is slower than MobileNet v2", "mobilevit_s", "mobilenet_v2"),
)


def ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"


if __name__ == "__main__":
    main()
