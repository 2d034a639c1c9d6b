"""The sweep of rates, against pandas' average, Lightning's rule and a known largest stable rate."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import vertebra as vb
from vertebra.cli.lr import print_sweep
from vertebra.core import VertebraError
from vertebra.runs import Recipe
from vertebra.train.lr_finder import RateSweep, find_learning_rate, rising_rates, swept

TINY = {"model": "resnet20", "data": "digits", "batch_size": 64, "image_size": 16, "threads": 1}


def tiny(**changes: Any) -> Recipe:
    return Recipe.load("scratch-small", **{**TINY, **changes})


def curve(loss: Any, low: float = 1e-6, high: float = 10.0, steps: int = 100) -> RateSweep:
    return swept(loss, rising_rates(low, high, steps))


def lightnings(sweep: RateSweep) -> float:
    """``_LRFinder.suggestion`` of PyTorch Lightning, written out: its skips, numpy's gradient."""
    losses = np.array(sweep.smoothed[10:-1])
    return sweep.rates[int(np.gradient(losses).argmin()) + 10]


def falling(rate: float) -> float:
    """A fall around 1e-3, a rise from 0.1 on."""
    return 2.3 - 1.5 / (1 + (1e-3 / rate) ** 1.5) + (rate / 0.1) ** 2


@pytest.fixture(scope="module")
def digits() -> RateSweep:
    return find_learning_rate(tiny(batch_size=32))


def test_the_rates_are_numpys() -> None:
    assert rising_rates(1e-5, 3.0, 40) == pytest.approx(np.geomspace(1e-5, 3.0, 40))


def test_the_average_is_pandas() -> None:
    generator = np.random.default_rng(0)
    sweep = curve(lambda rate: float(generator.uniform(1, 2)))
    beta = 1 - math.log10(sweep.rates[1] / sweep.rates[0]) / 0.7
    expected = pd.Series(sweep.losses).ewm(alpha=1 - beta, adjust=True).mean()
    assert sweep.smoothed == pytest.approx(expected.to_numpy())


@pytest.mark.parametrize("steps", [50, 100, 400])
def test_the_suggestion_is_lightnings_on_a_clean_curve(steps: int) -> None:
    """To within a third of a decade: ours looks at the lower part of the fall."""
    sweep = curve(falling, steps=steps)
    assert math.log10(lightnings(sweep)) == pytest.approx(
        math.log10(sweep.suggestion() or 0), abs=0.33
    )
    assert 1e-4 < (sweep.suggestion() or 0) < 1e-2


def test_a_return_from_a_peak_is_no_fall() -> None:
    """There Lightning's rule suggests a rate at which the network has broken."""

    def peaked(rate: float) -> float:
        return falling(rate) if rate < 0.05 else 3.0 if rate < 0.3 else 0.4

    sweep = curve(peaked)
    assert sweep.smoothed[-1] == min(sweep.smoothed)
    assert lightnings(sweep) > 0.1
    assert 1e-4 < (sweep.suggestion() or 0) < 1e-2


@pytest.mark.parametrize("seed", range(5))
def test_noise_at_the_start_is_no_fall(seed: int) -> None:
    generator = np.random.default_rng(seed)
    sweep = curve(lambda rate: falling(rate) + float(generator.normal(0, 0.1)))
    assert 1e-4 < (sweep.suggestion() or 0) < 1e-2


def test_a_curve_that_tells_nothing_gets_no_suggestion() -> None:
    generator = np.random.default_rng(0)
    sweep = curve(lambda rate: 2.3 + float(generator.normal(0, 0.02)))
    assert (sweep.suggestion(), sweep.diverged) == (None, False)
    assert "neither fell clearly nor left" in sweep.reason()


def test_without_a_fall_a_decade_below_the_end() -> None:
    sweep = curve(lambda rate: 2.3 if rate < 0.1 else 2.3 * rate / 0.1)
    assert sweep.diverged
    assert sweep.suggestion() == sweep.rates[-1] / 10
    assert "where it left" in sweep.reason()
    assert sweep.smoothed[-1] > 4 * min(sweep.smoothed) >= sweep.smoothed[-2]


def test_what_is_not_finite_ends_the_sweep() -> None:
    sweep = curve(lambda rate: 2.3 if rate < 0.1 else math.nan)
    assert sweep.rates[-1] < 0.1 < sweep.rates[-1] * 1.2
    assert "finite" in sweep.stopped
    json.dumps(sweep.to_dict(), allow_nan=False)
    with pytest.raises(VertebraError, match="before anything was learnt"):
        curve(lambda _rate: math.inf)


@pytest.mark.parametrize("curvature", [0.5, 4.0, 50.0])
def test_a_quadratic_diverges_near_its_largest_stable_rate(curvature: float) -> None:
    """Gradient descent on L/2 w^2 is stable below 2/L; noise keeps w from reaching zero."""
    weight = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = torch.optim.SGD([weight])
    generator = torch.Generator().manual_seed(0)

    def step(rate: float) -> float:
        optimizer.zero_grad()
        loss = 1 + curvature / 2 * weight.square()
        (loss + 0.1 * weight * torch.randn((), generator=generator)).backward()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        return float(loss.detach())

    sweep = curve(step, 1e-4, 100.0, 300)
    stable = 2 / curvature
    assert sweep.diverged
    assert stable < sweep.rates[-1] < 2.5 * stable
    assert sweep.suggestion() is None or sweep.suggestion() < stable


@pytest.mark.parametrize(
    "given", [{"low": 0.0}, {"low": 1.0, "high": 0.1}, {"high": math.inf}, {"steps": 5}]
)
def test_no_such_range(given: dict[str, Any]) -> None:
    with pytest.raises(VertebraError, match=r"rise from above 0|20 steps or more"):
        find_learning_rate(tiny(), **given)


def test_resnet20_on_digits_gets_the_recipes_own_rate_to_within_a_decade(
    digits: RateSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a run by it learns, which one at the sweep's other end does not."""
    found = digits.suggestion()
    assert found is not None
    assert 0.005 < found < 0.5
    monkeypatch.setattr("vertebra.train.summary.write_report", lambda *_: None)
    reached = {}
    for rate in (found, digits.rates[10]):
        recipe = tiny(lr=rate, epochs=4, batch_size=32)
        run = vb.train.fit(recipe, tmp_path / f"{rate}")
        reached[rate] = run.epochs[-1]["train_top1"]
    assert reached[found] > 0.5 > 2 * reached[digits.rates[10]]


def test_the_same_recipe_gives_the_same_curve_and_its_seed_another() -> None:
    recipe = tiny(model="lenet5", image_size=32)
    first, again = (find_learning_rate(recipe, steps=25) for _ in range(2))
    assert first == again
    assert first.losses != find_learning_rate(recipe.override(seed=1), steps=25).losses


def test_the_first_loss_is_a_runs_first_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same batch, augmented the same, through the same weights: a run's, too."""
    monkeypatch.setattr("vertebra.train.summary.write_report", lambda *_: None)
    recipe = tiny(epochs=2, batch_size=32)
    run = vb.train.fit(recipe, tmp_path / "run")
    assert find_learning_rate(recipe, steps=20).losses[0] == run.metrics[0]["loss"]
    tuning = recipe.override(weights=f"{run.path}@last", duration="1ba", warmup=0)
    tuned = vb.train.fit(tuning, tmp_path / "tuned")
    sweep = find_learning_rate(tuning, steps=20)
    assert sweep.losses[0] == tuned.metrics[0]["loss"] < 0.7 * run.metrics[0]["loss"]


def test_a_recipe_that_scales_its_rate_gets_one_before_scaling() -> None:
    """A sweep tries train.lr, so that what it suggests can be written there."""
    plain = find_learning_rate(tiny(), low=1e-3, steps=20)
    halved = tiny(lr_scaling="linear", lr_batch=128)
    scaled = find_learning_rate(halved, low=2e-3, high=20.0, steps=20)
    assert (plain.scale, scaled.scale) == (1.0, 0.5)
    assert scaled.losses == pytest.approx(plain.losses, rel=1e-3)


def test_the_caller_finds_everything_as_it_was() -> None:
    def state() -> tuple[Any, ...]:
        return (
            torch.get_rng_state().tolist(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
            random.getstate(),
            [str(part) for part in np.random.get_state()],
        )

    before, recipe = state(), tiny(model="lenet5", image_size=32, threads=2)
    copy = recipe.model_copy(deep=True)
    find_learning_rate(recipe, steps=20)
    assert state() == before
    assert recipe == copy


def test_a_page_and_a_document(digits: RateSweep) -> None:
    page = digits.to_page().html()
    assert "<svg" in page
    assert f"{digits.suggestion():.2g}" in page
    document = json.loads(json.dumps(digits.to_dict(), allow_nan=False))
    assert document["schema"] == "vertebra.rate-sweep/1"
    assert tuple(document["rates"]) == digits.rates


def test_the_command_prints_what_to_set(
    digits: RateSweep, capsys: pytest.CaptureFixture[str]
) -> None:
    print_sweep(digits)
    printed = capsys.readouterr().out
    assert f"--set lr={digits.suggestion():.2g}" in printed
    assert f"{digits.rates[-1]:.2e}" in printed
    print_sweep(curve(lambda _rate: 2.3))
    assert "suggested   none: from 1e-06 to 10 the loss neither" in capsys.readouterr().out
