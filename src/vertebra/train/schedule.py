"""The learning rate, and the momentum, of every step: pure functions of a recipe and a step."""

from __future__ import annotations

import bisect
import math

from vertebra.runs.sections import TrainSection

# How far one-cycle lowers the momentum while the rate is high (Smith, 2018: 0.95 to 0.85).
MOMENTUM_DIP = 0.1


def total_steps(section: TrainSection, steps_per_epoch: int) -> int:
    """Optimiser steps of the whole run, at least one."""
    return max(1, section.duration.steps(steps_per_epoch))


def peak_rate(section: TrainSection) -> float:
    """``lr`` at the recipe's own batch.

    Linear: times batch / lr_batch (Goyal et al., 2017, arXiv:1706.02677, section 2.1). Square root:
    times its root, which keeps the variance of an update (Krizhevsky, 2014, arXiv:1404.5997,
    section 5).
    """
    if section.lr_scaling == "none" or section.lr_batch is None:
        return section.lr
    ratio = section.batch_size / section.lr_batch
    return section.lr * (ratio if section.lr_scaling == "linear" else math.sqrt(ratio))


def learning_rate(section: TrainSection, step: int, steps_per_epoch: int) -> float:
    """The rate of optimiser step ``step`` (from 0).

    A warm-up of w steps gives step s the share ``warmup_from + (1 - warmup_from) * (s + 1) / w`` of
    the peak. Then "constant"; "step": times ``step_factor`` at each of the run's milestones,
    counted from its start; "cosine" from the peak to ``final_lr``, which the step behind the last
    one would have (Loshchilov and Hutter, 2016, arXiv:1608.03983, equation 5 without restarts).
    "onecycle": half a cosine up over the warm-up and half a cosine down, the last step at
    ``final_lr`` (Smith, 2018, arXiv:1803.09820; phases as torch's OneCycleLR has them).
    """
    return peak_rate(section) * _share(section, step, steps_per_epoch)


def momentum(section: TrainSection, step: int, steps_per_epoch: int) -> float | None:
    """The momentum (SGD) or first beta (Adam) of a step; None where the schedule keeps it."""
    if section.schedule != "onecycle":
        return None
    high = section.momentum if section.optimizer == "sgd" else section.betas[0]
    low = max(0.0, high - MOMENTUM_DIP)
    rising, progress = _phase(section, step, steps_per_epoch)
    return _cosine(high, low, progress) if rising else _cosine(low, high, progress)


def milestones(section: TrainSection, steps_per_epoch: int) -> list[int]:
    """The steps at which the "step" schedule lowers the rate, ascending."""
    found = {at.steps(steps_per_epoch) for at in section.step_at}
    if section.step_every is not None:
        every = max(1, section.step_every.steps(steps_per_epoch))
        found |= set(range(every, total_steps(section, steps_per_epoch), every))
    return sorted(found)


def _share(section: TrainSection, step: int, steps_per_epoch: int) -> float:
    """The rate of a step as a share of the peak."""
    if section.schedule == "onecycle":
        rising, progress = _phase(section, step, steps_per_epoch)
        start, end = (section.warmup_from, 1.0) if rising else (1.0, section.final_lr)
        return _cosine(start, end, progress)
    warmup = section.warmup.steps(steps_per_epoch)
    if step < warmup:
        return section.warmup_from + (1 - section.warmup_from) * (step + 1) / warmup
    if section.schedule == "step":
        passed = bisect.bisect_right(milestones(section, steps_per_epoch), step)
        return float(section.step_factor**passed)
    if section.schedule == "cosine":
        left = max(total_steps(section, steps_per_epoch) - warmup, 1)
        return _cosine(1.0, section.final_lr, (step - warmup) / left)
    return 1.0


def _phase(section: TrainSection, step: int, steps_per_epoch: int) -> tuple[bool, float]:
    """Of one-cycle: whether the rate rises, and how far that phase is, 0 to 1."""
    last = total_steps(section, steps_per_epoch) - 1
    top = max(section.warmup.steps(steps_per_epoch) - 1, 0)
    if step <= top and top > 0:
        return True, step / top
    return False, (step - top) / max(last - top, 1)


def _cosine(start: float, end: float, progress: float) -> float:
    """From ``start`` to ``end`` along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
