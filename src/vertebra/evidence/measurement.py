"""What one network cost on one machine, and the conditions under which that holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Conditions:
    """Everything that the cost hangs on; two measurements of one :attr:`key` are comparable.

    Attributes:
        fingerprint: of the graph that the network computes on one image (``Anatomy.fingerprint``).
        input_shape: (batch, channels, height, width).
        workload: "stream" (one call after the other), "offline" (many calls given at once, of
            which OpenVINO has several under way; a sample is a call's share of the time of all),
            "server" (calls arrive by a Poisson process) or "train" (a training step).
        engine: "eager", "compile", "onnxruntime", "openvino", ...
        engine_version: of the library that ran it.
        options: what else was asked of the engine, or of the workload, as text by name.
        layout: "contiguous" or "channels_last" of the images and weights given to the engine.
        precision: that really ran: "fp32", "bf16", "fp16" or "int8".
        threads: that the engine may use for one call.
        device: "cpu" or "cuda", whose GPUs are the machine's; "cuda:1" for the second one.
        machine: fingerprint of the machine (``Machine.fingerprint``).
    """

    fingerprint: str
    input_shape: tuple[int, ...]
    workload: str
    engine: str
    engine_version: str
    layout: str
    precision: str
    threads: int
    device: str
    machine: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Twenty hex digits of all of it."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    @property
    def batch(self) -> int:
        """Images in one call."""
        return self.input_shape[0]


@dataclass(frozen=True)
class Measurement:
    """What a network cost under its conditions. Times are in seconds, memory and files in bytes.

    Attributes:
        model: the name that it was asked for by.
        measured_at: when it ended, ISO 8601 in UTC.
        p50, p90, p99: of a call's time; p99 is None where too few calls were made.
        interval: 99 % confidence interval of ``p50``.
        samples: the times of the calls, in order.
        images_per_second: images over the time of the calls.
        floor: the machine's noise: a ratio of two measurements within 1 +- ``floor`` is no
            difference.
        load: from the file (or the built network) to an engine that is ready.
        first: the first call, which may still compile.
        memory: peak of resident memory of the whole process, its libraries included, from before
            loading to after the calls; where PyTorch ran on a GPU, the most that it held of that
            one, and the host's is ``extra["host_memory"]``.
        file: size of what the engine loads.
        parity: largest difference from PyTorch in float32 on the same images and weights, over the
            largest output; None where there is nothing to compare, as in training.
        cost_only: the numbers that it computes are of no use (int8 calibrated on random images), so
            it says what such a network would cost and cannot be recommended by itself.
        warnings: what disturbed the measurement, in words.
        extra: what only some workloads have, by name.
    """

    conditions: Conditions
    model: str
    measured_at: str
    p50: float
    p90: float
    p99: float | None
    interval: tuple[float, float]
    samples: tuple[float, ...]
    images_per_second: float
    floor: float
    load: float
    first: float
    memory: int
    file: int
    parity: float | None = None
    cost_only: bool = False
    warnings: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pace(self) -> tuple[str, float] | None:
        """A fixed piece of work, and the seconds that it took between the turns, which tells how
        fast the machine was; None where it was not told.
        """
        told = self.extra.get("pace")
        return (told["by"], told["seconds"]) if isinstance(told, dict) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data under the names of this class."""
        return {**asdict(self), "key": self.conditions.key}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Measurement:
        """The measurement that :meth:`to_dict` wrote, also after a way through JSON."""
        rest = {name: value for name, value in plain.items() if name != "key"}
        conditions = dict(rest.pop("conditions"))
        conditions["input_shape"] = tuple(conditions["input_shape"])
        for name in ("interval", "samples", "warnings"):
            if name in rest:
                rest[name] = tuple(rest[name])
        return cls(conditions=Conditions(**conditions), **rest)
