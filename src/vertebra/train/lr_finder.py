"""At which learning rate a network learns fastest, and at which it breaks.

Smith, 2015 (arXiv:1506.01186), section 3.3, with the rate rising exponentially from step to step
and a stop once the loss has left, as fastai and PyTorch Lightning have it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vertebra.core import VertebraError
from vertebra.data import Batch
from vertebra.machine import describe
from vertebra.report import Page, line_plot
from vertebra.runs import Recipe
from vertebra.train.job import Job
from vertebra.train.loop import batches_of
from vertebra.train.own_data import dataset_of
from vertebra.train.rehearse import rehearsal
from vertebra.train.rules import resolve
from vertebra.train.schedule import peak_rate
from vertebra.train.step import train_step

# A sweep ends once the smoothed loss is so many times its best (fastai, Lightning).
DIVERGED = 4.0
# Decades of the rate that the smoothed loss remembers: 10 steps of 100 from 1e-6 to 10.
MEMORY = 0.7
# A fall is one from this share of the loss at the start on, and from so many times its noise on.
LEAST_FALL, LEAST_NOISES = 0.02, 3.0
# The first part of the whole fall, in which no steepest place is looked for: there, noise of small
# batches is as steep as learning.
UNSURE = 0.4
LEAST_STEPS = 20

ALL_TRIED = "every rate was tried"
LEFT = f"the smoothed loss became {DIVERGED:g} times its best"
NOT_FINITE = "the loss was no longer finite at the next rate"


@dataclass(frozen=True)
class RateSweep:
    """A training's loss while its learning rate rises.

    Attributes:
        rates: what ``train.lr`` was at each step, before the recipe scales it to its batch; rising.
        losses: of each step, in nats: the mean over its images, before they were learnt from.
        smoothed: an exponential average of them, corrected for its start (Kingma and Ba, 2014,
            arXiv:1412.6980, section 3).
        stopped: why the sweep ended.
        scale: what the recipe multiplies ``train.lr`` by for its batch.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    stopped: str
    scale: float = 1.0

    @property
    def diverged(self) -> bool:
        """Whether the loss left before every rate was tried."""
        return self.stopped != ALL_TRIED

    def suggestion(self) -> float | None:
        """A value for ``train.lr``; :meth:`reason` says what it rests on.

        Where the smoothed loss falls steepest over the logarithm of the rate. Lightning's
        ``suggestion`` takes the steepest single step; here the fall is measured over as many steps
        as the average remembers, and only where the loss is lower than ever before, so that neither
        a lucky batch nor the return from a peak counts. Without a clear fall, a tenth of the last
        rate before the loss left; None where it did not leave either.
        """
        return self._verdict[0]

    def reason(self) -> str:
        """What :meth:`suggestion` rests on, or why there is none."""
        return self._verdict[1]

    @functools.cached_property
    def _verdict(self) -> tuple[float | None, str]:
        steepest = self._steepest()
        if steepest is not None:
            return self.rates[steepest], "the smoothed loss falls steepest there"
        if self.diverged and len(self.rates) > self._settling:
            last = self.rates[-1]
            return last / 10, f"the loss never fell clearly; a tenth of {last:.2g}, where it left"
        if self.diverged:
            return None, f"the loss left within {len(self.rates)} steps; begin at a lower rate"
        span = f"from {self.rates[0]:.2g} to {self.rates[-1]:.2g}"
        return None, f"{span} the loss neither fell clearly nor left"

    def _steepest(self) -> int | None:
        """The step at which the smoothed loss falls steepest; None where it never falls clearly."""
        settling = self._settling
        curve = np.array(self.smoothed[settling:])
        if len(curve) < 3:
            return None
        early = np.array(self.losses[:settling])
        noise = early.std() / len(early) ** 0.5
        start = early.mean()
        fall = start - curve.min()
        if fall <= max(LEAST_FALL * abs(start), LEAST_NOISES * noise):
            return None
        records = np.minimum(np.minimum.accumulate(curve), start - UNSURE * fall)
        # From one step to the next the average falls by how lucky that step's batch is.
        reach = settling // 2
        padded = np.pad(records, reach, mode="edge")
        return settling + int(np.argmin(padded[2 * reach :] - padded[: -2 * reach]))

    @property
    def _settling(self) -> int:
        """Steps at the start whose average has seen too little to be judged by: as many as it
        remembers.
        """
        if len(self.rates) < 2:
            return 1
        return max(3, round(1 / (1 - _beta(self.rates[0], self.rates[1]))))

    def plot(self) -> str:
        """The sweep as SVG: loss over the logarithm of the rate."""
        decades = [math.log10(rate) for rate in self.rates]
        # What follows the fall, up to many times the first loss, would flatten the fall.
        top = 1.5 * max(self.losses[: self._settling])
        series = {"loss": self.losses, "smoothed": self.smoothed}
        shown = {
            name: (decades, [min(value, top) for value in values])
            for name, values in series.items()
        }
        return line_plot(shown, "learning rate (log10)", f"cross-entropy (nats), cut at {top:.2g}")

    def to_page(self, title: str = "Learning rates") -> Page:
        """The sweep as a page."""
        found = self.suggestion()
        page = Page(title=title, lead=f"{len(self.rates)} steps; {self.stopped}.")
        page.facts(
            [
                ("suggested train.lr", "none" if found is None else f"{found:.2g}"),
                ("first rate", f"{self.rates[0]:.2g}"),
                ("last rate", f"{self.rates[-1]:.2g}"),
            ]
        )
        page.section("Loss while the rate rises", f"{self.reason().capitalize()}.")
        page.plots([self.plot()])
        return page

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            "schema": "vertebra.rate-sweep/1",
            "suggestion": self.suggestion(),
            "reason": self.reason(),
            "stopped": self.stopped,
            "scale": self.scale,
            "rates": list(self.rates),
            "losses": list(self.losses),
            "smoothed": list(self.smoothed),
        }


def find_learning_rate(
    recipe: Recipe, *, low: float = 1e-6, high: float = 10.0, steps: int = 100
) -> RateSweep:
    """Train a few steps while the rate rises exponentially from ``low`` to ``high``.

    The steps are the recipe's own (its batches, augmentation, optimiser, weights to start from)
    except that all layers learn from the first one on. Nothing of them stays, and the same recipe
    gives the same curve.

    Args:
        recipe: what would be trained; its ``lr``, schedule and warm-up play no part.
        low: the first ``train.lr``.
        high: the last one, tried unless the loss leaves before.
        steps: how many rates are tried, at least 20.

    Raises:
        VertebraError: no such range; bad data, or a recipe that does not fit it.
    """
    rates = rising_rates(low, high, steps)
    dataset = dataset_of(recipe)
    constant = recipe.override(schedule="constant", warmup=0, head_first=0)
    resolved = resolve(constant, dataset, describe())
    with rehearsal(resolved, dataset) as job:
        batches = _endless(job)

        def step(rate: float) -> float:
            return _loss_of_step(job, next(batches), resolved.override(lr=rate))

        return swept(step, rates, peak_rate(resolved.train) / resolved.train.lr)


def rising_rates(low: float, high: float, steps: int) -> tuple[float, ...]:
    """``steps`` rates from ``low`` to ``high``, each the same number of times the one before.

    Raises:
        VertebraError: the range is empty or below zero, or there are fewer than 20 steps.
    """
    if not 0 < low < high < math.inf:
        raise VertebraError(f"learning rates rise from above 0, got {low:g} to {high:g}")
    if steps < LEAST_STEPS:
        raise VertebraError(f"a sweep takes {LEAST_STEPS} steps or more, got {steps}")
    return tuple(low * (high / low) ** (place / (steps - 1)) for place in range(steps))


def swept(
    step: Callable[[float], float], rates: tuple[float, ...], scale: float = 1.0
) -> RateSweep:
    """Step at each rate until the loss leaves.

    Args:
        step: learns once at a rate and gives the loss from before it; what is not finite ends it.
        rates: rising, at equal distances of their logarithms.
        scale: as in :class:`RateSweep`.
    """
    beta = _beta(rates[0], rates[1])
    losses: list[float] = []
    smoothed: list[float] = []
    average, best, stopped = 0.0, math.inf, ALL_TRIED
    for rate in rates:
        loss = step(rate)
        if not math.isfinite(loss):
            stopped = NOT_FINITE
            break
        losses.append(loss)
        average = beta * average + (1 - beta) * loss
        smoothed.append(average / (1 - beta ** len(losses)))
        best = min(best, smoothed[-1])
        if smoothed[-1] > DIVERGED * best:
            stopped = LEFT
            break
    if not losses:
        raise VertebraError(f"the loss is not finite before anything was learnt: got {loss}")
    return RateSweep(rates[: len(losses)], tuple(losses), tuple(smoothed), stopped, scale)


def _beta(rate: float, following: float) -> float:
    """What the average keeps of itself at a step."""
    return max(0.0, 1 - math.log10(following / rate) / MEMORY)


def _endless(job: Job) -> Iterator[list[Batch]]:
    """The micro-batches of one step after the other, with the job where each of them is."""
    batches, progress = batches_of(job), job.progress
    while True:
        for step, micro_batches in enumerate(batches(progress.epoch)):
            progress.step_in_epoch = step
            yield micro_batches
        progress.epoch, progress.step_in_epoch = progress.epoch + 1, 0


def _loss_of_step(job: Job, batches: list[Batch], recipe: Recipe) -> float:
    """Learn from one batch by a recipe; its loss, not finite where nothing could be learnt."""
    job.recipe = recipe
    try:
        train_step(job, batches, job.step_images)
    except VertebraError:
        loss = job.moment.loss
        if loss is None or bool(torch.isfinite(loss)):
            raise
        return float(loss)
    assert job.moment.step_loss is not None
    return float(job.moment.step_loss)
