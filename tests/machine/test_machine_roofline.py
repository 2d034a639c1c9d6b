"""The machine's ceilings: the right work over the right time. Whether they hold is a benchmark."""

from collections.abc import Callable

import pytest
import torch

from vertebra.machine import Roofline, measure_roofline, roofline


def test_the_ceilings_are_work_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that says 0.5 s for everything: products of 1536, copies of 2**28 bytes."""
    done: list[object] = []

    def half_a_second(call: Callable[[], object], _seconds: float) -> float:
        done.append(call())
        return 0.5

    monkeypatch.setattr(roofline, "_best", half_a_second)
    roof = measure_roofline()
    products = [made for made in done if isinstance(made, torch.Tensor) and made.ndim == 2]
    assert [(tuple(made.shape), made.dtype) for made in products] == [
        ((1536, 1536), torch.float32),
        ((1536, 1536), torch.bfloat16),
    ]
    # Ones by ones: each number adds up as many products as it has multiply-accumulates.
    assert float(products[0].sum()) == 1536**3
    assert roof.macs_per_second == {"fp32": 1536**3 / 0.5, "bf16": 1536**3 / 0.5}
    (copied,) = (made for made in done if isinstance(made, torch.Tensor) and made.ndim == 1)
    assert roof.bytes_per_second == 2 * copied.numel() * copied.element_size() / 0.5


def test_the_best_try_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm-up, then 3, 1 and 2 seconds: the shortest is the machine's own speed."""
    moments = iter([0.0, *(0.0, 3.0), *(3.0, 4.0), *(4.0, 6.0), 6.0])
    monkeypatch.setattr(roofline.time, "perf_counter", lambda: next(moments))
    calls: list[int] = []
    assert roofline._best(lambda: calls.append(1), 5.0) == 1.0
    assert len(calls) == 1 + 3


def test_threads_are_left_as_they_were() -> None:
    before = torch.get_num_threads()
    roof = measure_roofline(seconds=0.1, threads=1)
    assert (roof.threads, torch.get_num_threads()) == (1, before)
    assert min(*roof.macs_per_second.values(), roof.bytes_per_second) > 0


def test_the_ridge() -> None:
    roof = Roofline({"fp32": 100e9, "bf16": 250e9}, 40e9, 2)
    assert roof.ridge() == pytest.approx(2.5)
    assert roof.ridge("bf16") == pytest.approx(6.25)
