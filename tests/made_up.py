"""A store of made-up measurements: times that follow from a network's work by known rates."""

from __future__ import annotations

import random
from dataclasses import replace

from vertebra.evidence import Conditions, Measurement
from vertebra.machine import Machine
from vertebra.zoo import Architecture, get

MACHINE = Machine("Linux 6 x86_64", "any", 2, ("avx512_bf16",), 2**34)
MEASURED = [
    *["alexnet", "vgg11", "vgg16", "googlenet", "resnet18", "resnet34", "resnet50", "resnet101"],
    *["inception_v3", "densenet121", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"],
    *["efficientnet_b0", "efficientnet_b2", "efficientnet_b4", "vit_b_16", "vit_s_16", "swin_t"],
    *["convnext_atto", "convnext_tiny", "convnext_small", "mobilevit_s"],
]
# Seconds for a MAC, a byte and an operation, as two cores might take.
RATES = {"eager fp32": (1e-11, 1e-10, 8e-6), "openvino bf16": (2e-12, 4e-11, 2e-6)}


def seconds(entry: Architecture, setting: str) -> float:
    """By the rates; a depthwise MAC takes five times as long."""
    mac, byte, operation = RATES[setting]
    dear = {"depthwise": 5.0, "grouped": 2.0}
    macs = sum(numbers[0] * dear.get(kind, 1.0) for kind, numbers in entry.work.items())
    moved = sum(numbers[1] for numbers in entry.work.values())
    count = sum(numbers[3] for numbers in entry.work.values())
    return mac * macs + byte * moved + operation * count


def measurement(model: str, setting: str = "eager fp32", noise: float = 0.0) -> Measurement:
    """Of one network, at its own size, one image, two threads."""
    entry = get(model)
    engine, precision = setting.split()
    middle = seconds(entry, setting) * (1 + random.Random(model).uniform(-noise, noise))
    conditions = Conditions(
        fingerprint=entry.fingerprint,
        input_shape=(1, *entry.input_size),
        workload="stream",
        engine=engine,
        engine_version="1.0",
        layout="contiguous",
        precision=precision,
        threads=2,
        device="cpu",
        machine=MACHINE.fingerprint,
    )
    return Measurement(
        conditions=conditions,
        model=model,
        measured_at="2026-01-01T00:00:00+00:00",
        p50=middle,
        p90=1.1 * middle,
        p99=None,
        interval=(0.99 * middle, 1.01 * middle),
        samples=(middle,) * 64,
        images_per_second=1 / middle,
        floor=0.01,
        load=0.1,
        first=0.1,
        memory=2 * 10**8 + 8 * entry.params,
        file=4 * entry.params,
        extra={"rounds": 16},
    )


def step(model: str, images_a_second: float) -> Measurement:
    """Of training, 32 images at a time."""
    made = measurement(model)
    shape = (32, *made.conditions.input_shape[1:])
    conditions = replace(made.conditions, workload="train", input_shape=shape)
    return replace(made, conditions=conditions, images_per_second=images_a_second)
