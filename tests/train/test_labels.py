"""Labels in doubt: the rule against a plain loop, and planted flips found by real runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vertebra.core import VertebraError
from vertebra.data import open_dataset
from vertebra.runs import Recipe
from vertebra.train import evaluate
from vertebra.train.folds import cross_validate
from vertebra.train.labels import doubts, recipe_of, suspicious_labels

SHAPES = ("0", "1")


def by_the_paper(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> list[tuple]:
    """Off the diagonal of the confident joint, one image after another; smallest margin first."""
    thresholds = {
        j: float(
            np.mean([float(p[j]) for p, y in zip(probabilities, labels, strict=True) if y == j])
        )
        for j in sorted(set(labels.tolist()))
    }
    found = []
    for place, (p, label) in enumerate(zip(probabilities, labels.tolist(), strict=True)):
        sure = [j for j, least in thresholds.items() if p[j] >= least]
        if sure:
            best = max(sure, key=lambda j: p[j])
            if best != label:
                found.append((float(p[label]) - float(p[best]), place, best))
    return [(place, best) for _, place, best in sorted(found)]


@pytest.mark.parametrize("seed", range(5))
def test_rule_is_that_of_the_paper(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, 300)
    labels[labels == 2] = 1  # a class without images suggests nothing
    logits = generator.normal(size=(300, 5)) + np.eye(5)[labels]
    probabilities = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    found = doubts(probabilities, labels)
    wanted = by_the_paper(probabilities, labels)
    assert len(wanted) > 10
    assert list(zip(found.places.tolist(), found.suggested.tolist(), strict=True)) == wanted


def test_most_planted_flips_are_among_the_worst() -> None:
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    pixels, true = load_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    flipped = generator.choice(len(true), len(true) // 20, replace=False)
    labels = true.astype(np.int64)
    labels[flipped] = (labels[flipped] + generator.integers(1, 10, len(flipped))) % 10
    judge = LogisticRegression(C=0.2)
    said = cross_val_predict(judge, pixels / 16, labels, cv=4, method="predict_proba")
    found = doubts(said.astype(np.float32), labels)
    worst = set(found.places[: len(flipped)].tolist()) & set(flipped.tolist())
    # Not all: where the judge does not reach its threshold for the true class, none is suggested.
    assert len(worst) >= 0.65 * len(flipped)
    assert len(worst) >= 0.8 * len(found.places[: len(flipped)])
    right = [
        other == true[at]
        for at, other in zip(found.places.tolist(), found.suggested.tolist(), strict=True)
        if at in worst
    ]
    assert sum(right) >= 0.9 * len(right)


def flipped_folder(root: Path) -> set[str]:
    """Digits in class folders, one in twenty with another's label; the ids of these."""
    source = open_dataset("digits").source
    generator = np.random.default_rng(0)
    flipped = set()
    for index, label in enumerate(source.labels.tolist()):
        if str(label) not in SHAPES:
            continue
        name = str(label)
        wrong = generator.random() < 0.05
        if wrong:
            name = str(generator.choice([other for other in SHAPES if other != name]))
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.read(index, 1)[0, ::2, ::2].numpy()).save(
            folder / f"{index:04d}.png"
        )
        if wrong:
            flipped.add(f"{name}/{index:04d}.png")
    return flipped


def recipe(data: Path) -> Recipe:
    made = Recipe.load("scratch-small", model="resnet20", data=str(data), seed=0)
    return made.override(
        **{
            "train.epochs": 6,
            "train.batch_size": 16,
            "data.image_size": 16,
            "data.channels": 1,
            "train.threads": 1,
        }
    )


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    root = tmp_path_factory.mktemp("flipped") / "digits"
    return root, flipped_folder(root)


@pytest.fixture(scope="module")
def folds(digits: tuple[Path, set[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("folds") / "cv"
    cross_validate(recipe(digits[0]), 2, out)
    return out


def test_folds_find_most_flips(digits: tuple[Path, set[str]], folds: Path) -> None:
    root, flipped = digits
    found = suspicious_labels(folds, open_dataset(root).source.name)
    assert found.images == len(open_dataset(root).source.ids)
    assert found.found == len(found.rows)
    assert found.notes == ()  # "val is fold 0" is not so of the whole
    worst = [row.id for row in found.rows[: len(flipped)]]
    assert len(flipped) > 12
    assert len(set(worst) & flipped) >= 0.7 * len(flipped)
    assert len({row.id for row in found.rows}) == len(found.rows)
    for row in found.rows:
        assert row.id.startswith(f"{row.label}/")
        assert row.suggested != row.label
        assert 0 <= row.label_probability < row.suggested_probability <= 1
    assert {row.split for row in found.rows} == {"val", "test"}


def test_a_run_judges_what_it_was_not_trained_on(folds: Path) -> None:
    run = folds / "fold-0"
    found = suspicious_labels(run)
    held = {name for split in ("val", "test") for name in evaluate(run, split).ids}
    assert found.images == len(held)
    assert {row.id for row in found.rows} <= held
    assert found.found > 0


def test_recipe_of_folds_has_none(folds: Path) -> None:
    assert recipe_of(folds).data.folds is None
    assert recipe_of(folds / "fold-0").data.folds == 2


def test_other_data_is_refused(folds: Path) -> None:
    with pytest.raises(VertebraError, match=r"was trained on .*digits and not on elsewhere"):
        suspicious_labels(folds, "elsewhere")


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(VertebraError, match="no run folder"):
        suspicious_labels(tmp_path / "none")
    (tmp_path / "folds.json").write_text(json.dumps({}))
    with pytest.raises(VertebraError, match="fold-0"):
        suspicious_labels(tmp_path)
