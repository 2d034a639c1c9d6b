"""What frozen features are worth on this data: linear probe and nearest neighbours, held out.

A probe costs one pass over the images, so that candidates can be compared on the user's own data
before any of them is trained. It says how good features are as they are, and not how good they
become: fine-tuning changes the order of networks too (Kornblith et al., 2018, arXiv:1805.08974).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vertebra.choice.logme import checked, logme
from vertebra.choice.shares import wilson
from vertebra.core import VertebraError, address

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Of a mean over folds and of a share of images.
CONFIDENCE = 0.99
NEIGHBOURS = 5
# Steps that the solver of the logistic regression takes at most.
MOST_STEPS = 1_000


@dataclass(frozen=True)
class Probe:
    """What the features are worth.

    Attributes:
        accuracy: of the linear probe: the mean over the folds of the share of images that are
            right.
        interval: of it, at 99 %: the wider one of Student's over the folds and Wilson's over the
            images. Folds share their training images, so it is no more than a guide (Bengio and
            Grandvalet, 2004).
        spread: standard deviation between the folds.
        folds: each one's share.
        knn_accuracy: of the five nearest neighbours by angle, over the same folds.
        logme: the transferability score; None where it has no value, and a note says why.
        images, features: how many there were, and of how many dimensions.
        notes: what the user should know.
    """

    accuracy: float
    interval: tuple[float, float]
    spread: float
    folds: tuple[float, ...]
    knn_accuracy: float
    logme: float | None
    images: int
    features: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"schema": "vertebra.probe/1", **asdict(self)}


def probe(
    features: Floats,
    labels: Ints,
    groups: Ints | None = None,
    folds: int = 5,
    seed: int = 0,
    *,
    ids: Sequence[str] | None = None,
) -> Probe:
    """Judge features by cross-validation.

    Each dimension is standardised by the training part of a fold; the linear probe is a multinomial
    logistic regression with scikit-learn's own penalty, the other one the five nearest neighbours
    by angle.

    Args:
        features: (n, d), one row an image.
        labels: classes (n,).
        groups: numbers of the images' groups (n,), each of which stays in one fold.
        folds: how many; every class is spread over them evenly.
        seed: of who is in which fold.
        ids: stable names of the images, by which they are dealt out; None: their places, so that
            the folds hang on the order.

    Raises:
        VertebraError: shapes that do not fit, features that are not finite, fewer than two classes,
            more folds than images or groups, or a fold without which only one class is left.
    """
    import numpy as np

    rows, numbers = checked(features, labels)
    if len(np.unique(numbers)) < 2:
        raise VertebraError("a probe tells classes apart, and all labels are of one class")
    parts = list(fold_parts(numbers, groups, folds, seed, ids))
    notes: list[str] = []
    linear = [_linear_share(rows, numbers, *part, notes) for part in parts]
    nearest = [_nearest_share(rows, numbers, *part) for part in parts]
    score, why = _transferability(rows, numbers)
    return Probe(
        accuracy=statistics.fmean(linear),
        interval=_interval(linear, len(numbers)),
        spread=statistics.stdev(linear),
        folds=tuple(linear),
        knn_accuracy=statistics.fmean(nearest),
        logme=score,
        images=rows.shape[0],
        features=rows.shape[1],
        notes=(*_rare(numbers, folds), *dict.fromkeys(notes), *why),
    )


def fold_parts(
    labels: Ints,
    groups: Ints | None,
    folds: int,
    seed: int,
    ids: Sequence[str] | None = None,
) -> Iterator[tuple[Ints, Ints]]:
    """(places to learn from, places held out) of each fold.

    Raises:
        VertebraError: as :func:`probe`.
    """
    import numpy as np

    from vertebra.data import folds as deal

    names = [str(place) for place in range(len(labels))] if ids is None else list(ids)
    of_groups = None if groups is None else np.asarray(groups, dtype=np.int32)
    for what, entries in (("groups", of_groups), ("ids", names)):
        if entries is not None and len(entries) != len(labels):
            raise VertebraError(f"there are {len(labels)} labels, but {len(entries)} {what}")
    dealt = deal(names, labels, of_groups, folds, address(seed, "probe"))
    for fold in range(folds):
        learnt = np.flatnonzero(dealt != fold)
        if len(np.unique(labels[learnt])) < 2:
            raise VertebraError(
                f"without fold {fold + 1} of {folds} only one class is left to learn from; there "
                f"must be two in any {folds - 1} of them"
            )
        yield learnt, np.flatnonzero(dealt == fold)


def _linear_share(rows: Floats, labels: Ints, learnt: Ints, held: Ints, notes: list[str]) -> float:
    from sklearn.linear_model import LogisticRegression

    # A tight tolerance keeps the answer from hanging on the order of additions.
    model = LogisticRegression(max_iter=MOST_STEPS, tol=1e-5)
    share, steps = _fitted_share(model, rows, labels, learnt, held)
    if steps >= MOST_STEPS:
        notes.append(f"the logistic regression was stopped after {MOST_STEPS} steps")
    return share


def _nearest_share(rows: Floats, labels: Ints, learnt: Ints, held: Ints) -> float:
    from sklearn.neighbors import KNeighborsClassifier

    nearest = min(NEIGHBOURS, len(learnt))
    model = KNeighborsClassifier(n_neighbors=nearest, metric="cosine")
    return _fitted_share(model, rows, labels, learnt, held)[0]


def _fitted_share(
    model: Any, rows: Floats, labels: Ints, learnt: Ints, held: Ints
) -> tuple[float, int]:
    """The share that is right of what was held out, and the steps that the model took."""
    import warnings

    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(rows[learnt])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # becomes a note
        model.fit(scaler.transform(rows[learnt]), labels[learnt])
    said = model.predict(scaler.transform(rows[held]))
    steps = int(np.max(getattr(model, "n_iter_", 0)))
    return float(np.mean(said == labels[held])), steps


def _transferability(rows: Floats, labels: Ints) -> tuple[float | None, tuple[str, ...]]:
    try:
        return logme(rows, labels), ()
    except VertebraError as error:
        return None, (f"no LogME: {error}",)


def _rare(labels: Ints, folds: int) -> tuple[str, ...]:
    import numpy as np

    rare = int((np.unique(labels, return_counts=True)[1] < folds).sum())
    if not rare:
        return ()
    which = "1 class has" if rare == 1 else f"{rare} classes have"
    return (f"{which} fewer images than folds, so that some folds judge none of them",)


def _interval(shares: Sequence[float], images: int) -> tuple[float, float]:
    """The wider one of Student's interval over the folds and Wilson's over the images."""
    from scipy.stats import t

    mean, folds = statistics.fmean(shares), len(shares)
    reach = float(t.ppf((1 + CONFIDENCE) / 2, folds - 1)) * statistics.stdev(shares) / folds**0.5
    low, high = wilson(mean, images) or (0.0, 1.0)
    return max(0.0, min(mean - reach, low)), min(1.0, max(mean + reach, high))
