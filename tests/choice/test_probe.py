"""Probes beside scikit-learn's own cross-validation, on digits."""

import json
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vertebra.choice.image_features import features_of
from vertebra.choice.logme import logme
from vertebra.choice.probe import fold_parts, probe
from vertebra.core import VertebraError
from vertebra.data import ImageDataset, open_dataset
from vertebra.zoo import create


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small maps on a busy machine: threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pixels() -> tuple[Any, Any]:
    """600 of scikit-learn's digits, 64 pixels each, and their labels."""
    features, labels = load_digits(return_X_y=True)
    return features[:600], labels[:600]


@pytest.fixture(scope="module")
def dataset() -> ImageDataset:
    return open_dataset("digits")


def _by_scikit_learn(model: Any, features: Any, labels: Any, parts: Any) -> Any:
    pipeline = make_pipeline(StandardScaler(), model)
    return cross_val_score(pipeline, features, labels, cv=list(parts))


def test_both_probes_are_scikit_learns_on_the_same_folds(pixels: tuple[Any, Any]) -> None:
    features, labels = pixels
    found = probe(features, labels, folds=4, seed=3)
    parts = list(fold_parts(labels, None, 4, 3))
    linear = LogisticRegression(max_iter=1000, tol=1e-5)
    shares = _by_scikit_learn(linear, features, labels, parts)
    np.testing.assert_allclose(found.folds, shares)
    assert found.accuracy == pytest.approx(shares.mean())
    nearest = KNeighborsClassifier(n_neighbors=5, metric="cosine")
    shares = _by_scikit_learn(nearest, features, labels, parts)
    assert found.knn_accuracy == pytest.approx(shares.mean())
    assert found.logme == logme(features, labels)
    assert (found.images, found.features, found.notes) == (600, 64, ())
    json.dumps(found.to_dict())


def test_the_interval_is_the_wider_of_two(pixels: tuple[Any, Any]) -> None:
    from scipy.stats import ttest_1samp

    found = probe(*pixels)
    student = ttest_1samp(found.folds, 0).confidence_interval(0.99)
    right = round(found.accuracy * found.images)
    wilson = binomtest(right, found.images).proportion_ci(0.99, method="wilson")
    assert found.interval[0] == pytest.approx(min(student.low, wilson.low), abs=2e-4)
    assert found.interval[1] == pytest.approx(min(1, max(student.high, wilson.high)), abs=2e-4)
    assert found.spread == pytest.approx(statistics.stdev(found.folds))


def test_perfect_features_are_not_certain() -> None:
    """All folds are right: Student's interval alone would be a point."""
    labels = np.arange(60) % 3
    draw = np.random.default_rng(0)
    found = probe(np.eye(3)[labels] * 50 + draw.normal(size=(60, 3)), labels)
    assert found.accuracy == 1
    assert found.interval[0] < 0.95
    assert found.interval[1] == 1


@settings(max_examples=20)
@given(st.integers(20, 80), st.integers(2, 5), st.integers(2, 6), st.integers(0, 99))
def test_folds_divide_the_images_and_every_class(n: int, classes: int, k: int, seed: int) -> None:
    labels = np.arange(n) % classes
    parts = list(fold_parts(labels, None, k, seed))
    held = np.concatenate([held for _, held in parts])
    assert sorted(held.tolist()) == list(range(n))
    for learnt, out in parts:
        assert not set(learnt.tolist()) & set(out.tolist())
        counts = np.bincount(labels[out], minlength=classes)
        assert counts.max() - counts.min() <= 2


def test_names_and_not_places_decide_who_is_where() -> None:
    labels = np.arange(40) % 2
    ids = [f"{place}.png" for place in range(40)]
    order = np.random.default_rng(0).permutation(40)
    first = [set(np.array(ids)[held]) for _, held in fold_parts(labels, None, 4, 0, ids)]
    turned = [ids[place] for place in order]
    second = [set(np.array(turned)[h]) for _, h in fold_parts(labels[order], None, 4, 0, turned)]
    assert first == second
    others = [set(np.array(ids)[held]) for _, held in fold_parts(labels, None, 4, 1, ids)]
    assert first != others


def test_groups_stay_together_and_leaks_are_not_counted() -> None:
    """Each group is a point that is there six times: whoever has seen it knows its label."""
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 6)
    labels = draw.permutation(np.arange(40) % 2)[groups]
    features = draw.normal(size=(40, 30))[groups] + 1e-3 * draw.normal(size=(240, 30))
    for learnt, held in fold_parts(labels, groups, 5, 0):
        assert not set(groups[learnt]) & set(groups[held])
    leaking, honest = probe(features, labels), probe(features, labels, groups)
    assert leaking.knn_accuracy > 0.95
    assert honest.knn_accuracy < 0.75


def test_what_cannot_be_probed_is_said() -> None:
    features, labels = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    for arguments, said in (
        ((features, labels * 0), "one class"),
        ((features, labels, None, 30), "30 folds cannot be made of 20 images"),
        ((features, labels, np.arange(20) // 10, 5), "cannot be made of 2 groups"),
        ((features, labels, np.arange(19)), "20 labels, but 19 groups"),
        ((features, labels, labels, 2), "only one class is left"),
        ((features * np.inf, labels), "not finite"),
    ):
        with pytest.raises(VertebraError, match=said):
            probe(*arguments)


def test_rare_classes_and_missing_scores_are_noted() -> None:
    labels = np.array([0] * 20 + [1] * 20 + [2])
    found = probe(np.eye(3)[labels], labels)
    assert "1 class has fewer images than folds" in found.notes[0]
    assert found.logme is None
    assert "no largest value" in found.notes[-1]


def test_features_of_a_network_that_learnt_nothing_are_worse_than_pixels(
    dataset: ImageDataset,
) -> None:
    net = create("resnet20", num_classes=10, in_chans=1, seed=0)
    features = features_of(net, dataset.train, 400)
    assert features.vectors.shape == (400, net.num_features)
    random = features.probe()
    plain = load_digits()
    places = [int(name.rpartition("/")[2]) for name in features.ids]
    assert (plain.target[places] == features.labels).all()
    own = probe(plain.data[places], features.labels, ids=features.ids)
    assert 0.2 < random.accuracy < own.accuracy
    assert own.accuracy > 0.9
    assert (own.logme or 0) > (random.logme or 0)


def test_vectors_are_those_of_embed(dataset: ImageDataset) -> None:
    net = create("resnet20", num_classes=10, in_chans=1, seed=0).train()
    features = features_of(net, dataset.train, 50)
    assert net.training
    place = [dataset.train.id(place) for place in range(len(dataset.train))].index(features.ids[7])
    image = dataset.train.read(place)[None].float() / 255
    mean, std = net.preprocessing.mean[0], net.preprocessing.std[0]
    with torch.no_grad():
        expected = net.eval().embed((image - mean) / std)[0]
    np.testing.assert_allclose(features.vectors[7], expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_limit_keeps_every_class_and_its_share(dataset: ImageDataset) -> None:
    net = create("lenet5", seed=0)
    features = features_of(net, dataset.train, 100)
    counts = np.bincount(features.labels, minlength=10)
    assert len(features.labels) == 100
    assert counts.min() >= 8
    again = features_of(net, dataset.train, 100)
    assert again.ids == features.ids
    assert features_of(net, dataset.train, 100, seed=1).ids != features.ids
    with pytest.raises(VertebraError, match="5 images cannot show 10 classes"):
        features_of(net, dataset.train, 5)


def test_other_channels_are_refused(dataset: ImageDataset) -> None:
    net = create("resnet20", seed=0)
    with pytest.raises(VertebraError, match="takes images of 3 channels"):
        features_of(net, dataset.train)


def test_broken_files_are_left_out_and_told(make_folder: Any) -> None:
    root = make_folder(each=12)
    broken = open_dataset(root).train.id(3)
    (root / broken).write_bytes(b"no image")
    images = open_dataset(root)
    assert images.train.id(3) == broken
    net = create("mobilenet_v3_small", input_size=(3, 32, 32), seed=0)
    features = features_of(net, images.train)
    assert [entry.id for entry in features.skipped] == [broken]
    assert broken not in features.ids
    assert len(features.labels) == len(images.train) - 1
    assert "1 image could not be decoded" in features.probe(folds=2).notes[-1]
