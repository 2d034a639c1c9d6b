"""The rate of every step against torch's own schedulers."""

import itertools
import math
import warnings

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

from vertebra.runs.sections import TrainSection
from vertebra.train.schedule import learning_rate, milestones, momentum, peak_rate, total_steps


def torch_rates(section: TrainSection, warmup: int, total: int) -> list[float]:
    """The rates of LinearLR and then CosineAnnealingLR."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=section.lr)
    cosine = CosineAnnealingLR(optimizer, T_max=max(total - warmup, 1))
    schedule: SequentialLR | CosineAnnealingLR = cosine
    if warmup > 1:
        # LinearLR reaches the peak after total_iters steps, we with step number ``warmup``.
        linear = LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
        schedule = SequentialLR(optimizer, [linear, cosine], milestones=[warmup])
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            schedule.step()
    return rates


@pytest.mark.parametrize(
    ("epochs", "steps", "warmup"),
    [(30, 16, 2.0), (5, 7, 1.0), (4, 10, 0.5), (3, 10, 0.0), (10, 1, 5.0), (2, 3, 2.0)],
)
def test_learning_rate_is_torchs(epochs: int, steps: int, warmup: float) -> None:
    section = TrainSection(duration=epochs, lr=0.3, warmup=warmup)
    total = epochs * steps
    ours = [learning_rate(section, step, steps) for step in range(total)]
    expected = torch_rates(section, round(warmup * steps), total)
    assert ours == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_learning_rate_rises_to_its_peak_once_and_falls_to_nearly_nothing() -> None:
    section = TrainSection(duration=20, lr=0.1, warmup=2)
    rates = [learning_rate(section, step, 50) for step in range(1000)]
    assert rates[0] == pytest.approx(0.1 / 100)
    assert max(rates) == rates[99] == rates[100] == 0.1
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert 0 < rates[-1] < 1e-6
    assert learning_rate(section, 1000, 50) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("warmup", [1.0, 2.0, 5.0])
def test_a_run_shorter_than_its_warm_up_never_leaves_it(warmup: float) -> None:
    section = TrainSection(duration=1, lr=0.1, warmup=warmup)
    rates = [learning_rate(section, step, 10) for step in range(10)]
    assert rates == pytest.approx([0.1 * (s + 1) / (10 * warmup) for s in range(10)])


def rates_of(schedule: LRScheduler, total: int) -> tuple[list[float], list[float]]:
    """Rates, and momenta or first betas, of a torch scheduler that stands at its first step."""
    optimizer = schedule.optimizer
    rates, momenta = [], []
    for _ in range(total):
        group = optimizer.param_groups[0]
        rates.append(group["lr"])
        momenta.append(group["momentum"] if "momentum" in group else group["betas"][0])
        optimizer.step()
        schedule.step()
    return rates, momenta


def one_weight() -> list[nn.Parameter]:
    return [nn.Parameter(torch.zeros(1))]


def test_steps_are_torchs() -> None:
    every = TrainSection(duration=9, lr=0.5, schedule="step", step_every=3, warmup=0)
    torchs = StepLR(SGD(one_weight(), lr=0.5), step_size=3 * 7, gamma=0.1)
    ours = [learning_rate(every, step, 7) for step in range(63)]
    assert ours == pytest.approx(rates_of(torchs, 63)[0])
    named = TrainSection(
        duration=9, lr=0.5, schedule="step", step_at=("2ep", "30ba"), step_factor=0.3, warmup=0
    )
    torchs = MultiStepLR(SGD(one_weight(), lr=0.5), milestones=[14, 30], gamma=0.3)
    ours = [learning_rate(named, step, 7) for step in range(63)]
    assert ours == pytest.approx(rates_of(torchs, 63)[0])
    assert milestones(named, 7) == [14, 30]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_one_cycle_is_torchs(optimizer: str) -> None:
    total = 80
    section = TrainSection(
        duration=10,
        schedule="onecycle",
        lr=0.4,
        warmup=3,
        warmup_from=1 / 25,
        final_lr=1 / 25e4,
        optimizer=optimizer,
        momentum=0.95,
        betas=(0.95, 0.99),
    )
    weights = one_weight()
    made = SGD(weights, lr=0.4, momentum=0.9) if optimizer == "sgd" else AdamW(weights, lr=0.4)
    torchs = OneCycleLR(made, max_lr=0.4, total_steps=total, pct_start=0.3)
    rates, momenta = rates_of(torchs, total)
    assert [learning_rate(section, step, 8) for step in range(total)] == pytest.approx(rates)
    assert [momentum(section, step, 8) for step in range(total)] == pytest.approx(momenta)


def test_a_cosine_ends_at_its_final_rate() -> None:
    section = TrainSection(duration=10, lr=0.2, warmup=0, final_lr=0.1)
    torchs = CosineAnnealingLR(SGD(one_weight(), lr=0.2), T_max=70, eta_min=0.02)
    ours = [learning_rate(section, step, 7) for step in range(70)]
    assert ours == pytest.approx(rates_of(torchs, 70)[0])


def test_a_warm_up_from_a_share_is_linear_to_the_peak() -> None:
    section = TrainSection(
        duration=10, lr=0.2, warmup="20ba", warmup_from=0.25, schedule="constant"
    )
    rates = [learning_rate(section, step, 7) for step in range(70)]
    steps = [later - earlier for earlier, later in itertools.pairwise(rates[:20])]
    assert steps == pytest.approx([0.2 * 0.75 / 20] * 19)
    assert rates[0] == pytest.approx(0.05 + 0.0075)
    assert rates[19:] == pytest.approx([0.2] * 51)


@pytest.mark.parametrize(("rule", "factor"), [("none", 1), ("linear", 8), ("sqrt", math.sqrt(8))])
def test_the_rate_follows_the_batch_by_its_rule(rule: str, factor: float) -> None:
    section = TrainSection(lr=0.1, batch_size=2048, lr_batch=256, lr_scaling=rule, warmup=0)
    assert peak_rate(section) == pytest.approx(0.1 * factor)
    assert learning_rate(section, 0, 9) == pytest.approx(0.1 * factor)


def test_a_run_of_batches_has_that_many_steps() -> None:
    assert total_steps(TrainSection(duration="500ba"), 33) == 500
    assert total_steps(TrainSection(duration="2.5ep"), 33) == 82
    assert total_steps(TrainSection(duration="0.001ep"), 33) == 1
