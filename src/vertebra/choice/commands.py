"""Commands that would settle what is not known, under the very conditions that were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vertebra.choice.candidate import Candidate
from vertebra.choice.requirement import Requirement
from vertebra.runtime import Setup, unavailable

# How training runs on a CPU by itself, but for the precision, which hangs on the CPU.
TRAINED_BY, TRAINED_IN = 32, "channels_last"


def runnable_setting(requirement: Requirement) -> tuple[str, str] | None:
    """Engines and precisions to begin with, each a list as its option takes it; None where this
    machine runs nothing that is allowed. Which of them a GPU runs is not looked at: that would load
    PyTorch.
    """
    engines, precisions = requirement.begun_with
    if requirement.device == "cpu":
        runs = [(e, p) for e in engines for p in precisions if _refusal(e, p) is None]
        if not runs:
            return None
        engines = tuple(dict.fromkeys(engine for engine, _ in runs))
        precisions = tuple(dict.fromkeys(precision for _, precision in runs))
    return ",".join(engines), ",".join(precisions)


def why_nothing_runs(requirement: Requirement) -> Iterator[str]:
    """Why nothing that is allowed can be measured on this machine, where that is so."""
    if runnable_setting(requirement) is not None:
        return
    engines, precisions = requirement.begun_with
    for engine in engines:
        for precision in precisions:
            yield f"{engine} in {precision} cannot run here: {_refusal(engine, precision)}"


def _refusal(engine: str, precision: str) -> str | None:
    return unavailable(Setup(engine, precision))


def bench(requirement: Requirement, models: Sequence[str], setting: Sequence[str]) -> str:
    """To time calls as the requirement means them; ``setting`` as much as is known of
    (engine, precision, layout).
    """
    words = ["vertebra bench", *models]
    for option, value in zip(("engine", "precision", "layout"), setting, strict=False):
        words += [] if value == "contiguous" else [f"--{option} {value}"]
    if requirement.batch_served != 1:
        words.append(f"--batch {requirement.batch_served}")
    if requirement.device != "cpu":
        words.append(f"--device {requirement.device}")
    if requirement.percentile == "p99":
        words.append("--percentile p99")
    return " ".join([*words, *_shared(requirement)])


def bench_steps(requirement: Requirement, model: str) -> str:
    """To time training steps, in whichever precision this machine trains faster in."""
    words = [f"vertebra bench {model} --workload train --batch {TRAINED_BY} --precision fp32,bf16"]
    return " ".join([*words, f"--layout {TRAINED_IN}", *_shared(requirement)])


def in_turn(requirement: Requirement, some: Sequence[Candidate]) -> str | None:
    """To time candidates in turn again; None where they differ in more than the network."""
    settings = {(one.engine, one.precision, one.layout) for one in some}
    if len(settings) != 1:
        return None
    return f"{bench(requirement, [one.model for one in some], settings.pop())} --force"


def _shared(requirement: Requirement) -> list[str]:
    words = []
    if requirement.threads is not None:
        words.append(f"--threads {requirement.threads}")
    if requirement.input_size is not None:
        words.append(f"--image-size {requirement.input_size}")
    return words
