"""Probe the candidates' features on the very data, where their weights can be had."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vertebra.choice.candidate import Accuracy, Candidate
from vertebra.choice.choice import Choice
from vertebra.choice.facts import OnData
from vertebra.choice.limits import breaks
from vertebra.core import VertebraError

if TYPE_CHECKING:
    from vertebra.data import ImageDataset


def probe_candidates(
    choice: Choice,
    dataset: ImageDataset,
    count: int,
    known: OnData,
    tell: Callable[[str], None],
) -> OnData:
    """What is known, and a linear probe of the ``count`` best candidates within the limits.

    A candidate whose weights cannot be had is told of and passed over. What runs on this data say
    of a network stays: it is the stronger evidence.
    """
    accuracies, logme = dict(known.accuracies), dict(known.logme)
    for one in _worth_probing(choice)[: max(count, 0)]:
        try:
            found, score = _probed(one, dataset)
        except VertebraError as error:
            tell(f"{one.model} is not probed: {error}")
            continue
        tell(f"{one.model}: {100 * found.value:.1f} % by a linear model on its features")
        accuracies.setdefault(one.model, found)
        if score is not None:
            logme[one.model] = score
    return OnData(accuracies, logme, known.notes)


def _worth_probing(choice: Choice) -> list[Candidate]:
    """Those with weights within the limits, the best first by what is known so far."""
    ranked = [choice.recommended, choice.runner_up, *(one for one, _ in choice.why_not)]
    found: dict[str, Candidate] = {}
    for one in ranked:
        if one and one.weights and not one.cost_only and not breaks(one, choice.requirement):
            found.setdefault(one.model, one)
    return list(found.values())


def _probed(one: Candidate, dataset: ImageDataset) -> tuple[Accuracy, float | None]:
    from vertebra.choice.image_features import features_of
    from vertebra.zoo import create

    net = create(one.model, num_classes=0, weights=one.weights)
    features = features_of(net, dataset.train)
    probe = features.probe()
    source = f"{probe.images} images, {probe.folds} folds, weights {one.weights}"
    accuracy = Accuracy(probe.accuracy, "probe", source, probe.interval, one.weights)
    return accuracy, probe.logme
