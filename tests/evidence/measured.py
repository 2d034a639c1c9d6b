"""Measurements that nobody made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vertebra.evidence import Conditions, Measurement

CONDITIONS = Conditions(
    fingerprint="f" * 16,
    input_shape=(1, 3, 224, 224),
    workload="stream",
    engine="eager",
    engine_version="2.11.0",
    layout="contiguous",
    precision="fp32",
    threads=2,
    device="cpu",
    machine="a" * 16,
)


def measured(number: int = 0, **changes: Any) -> Measurement:
    """One of any number of different measurements; a later one has a later time.

    ``changes`` are of fields of :class:`Conditions` or of :class:`Measurement`.
    """
    own = {name: changes.pop(name) for name in list(changes) if hasattr(CONDITIONS, name)}
    plain = Measurement(
        conditions=replace(CONDITIONS, **own),
        model="resnet50",
        measured_at=f"2025-11-{1 + number // 1440:02}T{number // 60 % 24:02}:{number % 60:02}:00Z",
        p50=0.1 + 0.2 + number,
        p90=1 / 3 + number,
        p99=None,
        interval=(5e-324, 1.7976931348623157e308),
        samples=(0.1, 0.30000000000000004, 2 / 3),
        images_per_second=1e22,
        floor=0.02,
        load=1.0,
        first=2.5,
        memory=2**40,
        file=102_400_000,
    )
    return replace(plain, **changes)
