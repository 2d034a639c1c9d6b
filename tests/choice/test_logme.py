"""LogME beside scikit-learn's Bayesian ridge regression and beside a numerical maximum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.linear_model import BayesianRidge

from vertebra.choice.logme import logme
from vertebra.core import VertebraError

Floats = NDArray[np.float64]


def _data(seed: int, n: int, d: int, classes: int, signal: float) -> tuple[Floats, Floats]:
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.arange(n) % classes)
    centres = draw.normal(size=(classes, d))
    scales = np.exp(draw.normal(size=d))
    return (signal * centres[labels] + draw.normal(size=(n, d))) * scales, labels


def _by_bayesian_ridge(features: Floats, labels: Floats) -> float:
    """The fixed point that scikit-learn's iteration reaches, without priors on its precisions."""
    scores = []
    for one in np.unique(labels):
        ridge = BayesianRidge(
            max_iter=20_000,
            tol=1e-12,
            alpha_1=0,
            alpha_2=0,
            lambda_1=0,
            lambda_2=0,
            compute_score=True,
            fit_intercept=False,
        )
        ridge.fit(features, (labels == one).astype(float))
        scores.append(ridge.scores_[-1] / len(labels))
    return float(np.mean(scores))


def _by_density(features: Floats, labels: Floats) -> float:
    """The normal density of the labels, maximised over both precisions from several starts."""
    scores = []
    for one in np.unique(labels):
        target, gram = (labels == one).astype(float), features @ features.T

        def loss(logs: Floats, target: Floats = target, gram: Floats = gram) -> float:
            alpha, beta = np.exp(np.clip(logs, -20, 20))
            covariance = gram / alpha + np.eye(len(target)) / beta
            return -float(multivariate_normal.logpdf(target, cov=covariance)) / len(target)

        starts = [(a, b) for a in (-2.0, 2.0, 6.0) for b in (0.0, 3.0)]
        found = [minimize(loss, at, method="Nelder-Mead", options={"xatol": 1e-7}) for at in starts]
        scores.append(-min(entry.fun for entry in found))
    return float(np.mean(scores))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "d", "classes"), [(120, 8, 2), (90, 20, 3), (200, 40, 10)])
def test_it_is_the_evidence_at_the_fixed_point_of_bayesian_ridge(
    seed: int, n: int, d: int, classes: int
) -> None:
    features, labels = _data(seed, n, d, classes, signal=1.0)
    assert logme(features, labels) == pytest.approx(_by_bayesian_ridge(features, labels), abs=1e-4)


@pytest.mark.parametrize(("n", "d", "classes"), [(40, 5, 2), (30, 12, 3), (24, 60, 2)])
def test_it_is_the_maximum_of_the_density(n: int, d: int, classes: int) -> None:
    """Also with more features than samples."""
    features, labels = _data(7, n, d, classes, signal=0.7)
    assert logme(features, labels) == pytest.approx(_by_density(features, labels), abs=1e-4)


def test_features_that_tell_more_score_higher() -> None:
    scores = [logme(*_data(3, 200, 10, 4, signal)) for signal in (0.0, 0.5, 1.0, 2.0)]
    assert scores == sorted(scores)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_units_and_rotations_change_nothing(seed: int, unit: float) -> None:
    features, labels = _data(seed, 60, 6, 3, signal=1.0)
    turned, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))
    expected = logme(features, labels)
    assert logme(features * unit, labels) == pytest.approx(expected, abs=1e-6)
    assert logme(features @ turned, labels) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=15)
@given(st.integers(0, 1000))
def test_order_and_names_of_classes_change_nothing(seed: int) -> None:
    features, labels = _data(seed, 50, 5, 3, signal=1.0)
    order = np.random.default_rng(seed).permutation(50)
    expected = logme(features, labels)
    assert logme(features[order], labels[order]) == pytest.approx(expected, abs=1e-9)
    assert logme(features, 7 * labels + 3) == pytest.approx(expected, abs=1e-12)


def test_a_constant_feature_is_an_intercept() -> None:
    features, labels = _data(5, 100, 6, 2, signal=1.0)
    with_one = np.c_[features, np.full(100, 3.0)]
    assert np.isfinite(logme(np.ones((100, 1)), labels))
    assert logme(with_one, labels) > logme(features, labels)


def test_what_has_no_answer_is_said() -> None:
    features, labels = _data(0, 40, 5, 2, signal=1.0)
    for wrong, said in (
        ((features, np.zeros(40, dtype=int)), "one class"),
        ((features * 0, labels), "all of these are zero"),
        ((features * np.nan, labels), "not finite"),
        ((features, labels[:-1]), r"features are \(n, d\)"),
        ((features[0], labels), r"features are \(n, d\)"),
        ((features, labels + 0.5), "whole numbers"),
        ((np.eye(2)[labels], labels), "no largest value"),
    ):
        with pytest.raises(VertebraError, match=said):
            logme(*wrong)


def test_the_same_image_twice_among_many_features_is_said() -> None:
    features, labels = _data(1, 30, 80, 2, signal=1.0)
    twice = np.r_[features, features[:1]], np.r_[labels, labels[:1]]
    assert np.isfinite(logme(features, labels))
    with pytest.raises(VertebraError, match="are images there twice"):
        logme(*twice)
