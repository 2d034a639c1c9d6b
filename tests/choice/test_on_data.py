"""Evidence from the very data: runs on it, and probes of the candidates' features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scipy import stats

import made_up
import vertebra.zoo
from vertebra.choice import OnData, Requirement, choose
from vertebra.choice.on_data import from_runs
from vertebra.choice.probing import probe_candidates
from vertebra.choice.shares import wilson
from vertebra.core import VertebraError
from vertebra.data import open_dataset
from vertebra.evidence import Evidence
from vertebra.runs import Recipe, Run
from vertebra.train import fit


@pytest.mark.parametrize(("right", "images"), [(0, 10), (9, 10), (345, 360), (20_000, 20_000)])
def test_intervals_of_shares_are_scipy_s(right: int, images: int) -> None:
    expected = stats.binomtest(right, images).proportion_ci(0.99, method="wilson")
    assert wilson(right / images, images) == pytest.approx((expected.low, expected.high))
    assert wilson(0.5, 0) is None


def test_runs_on_this_data_count_and_others_do_not(tmp_path: Path, make_folder_at: Any) -> None:
    runs = tmp_path / "runs"
    for name, data in (("a", "mine"), ("b", "mine"), ("c", "other")):
        folder = tmp_path / data
        if not folder.exists():
            make_folder_at(folder, ("dark", "light") if data == "mine" else ("x", "y"))
        recipe = Recipe.load(
            "scratch-small",
            model="lenet5",
            data=str(folder),
            epochs=2 if name == "a" else 1,
            batch_size=8,
            image_size=32,
            warmup=0,
            lr=0.05 if name == "a" else 1e-6,
        )
        fit(recipe, out=str(runs / name))
    (runs / "no run").mkdir()
    (runs / "torn").mkdir()
    (runs / "torn" / "recipe.yaml").write_text("{")
    (runs / "torn" / "data.json").write_text("{")
    fingerprint = open_dataset(str(tmp_path / "mine")).card.fingerprint
    found = from_runs(runs, fingerprint)
    assert list(found) == ["lenet5"]
    of_each = [
        max(line["val_top1"] for line in Run.open(runs / name).epochs) for name in ("a", "b")
    ]
    assert found["lenet5"].value == max(of_each)
    assert found["lenet5"].interval is not None
    assert from_runs(tmp_path / "nowhere", fingerprint) == {}


def test_features_are_probed_where_weights_can_be_had(
    tmp_path: Path, make_folder_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    names = ["mobilenet_v3_small", "resnet18", "vgg11"]
    store.add([made_up.measurement(name) for name in names], made_up.MACHINE)
    make_folder_at(tmp_path / "images", each=30)
    dataset = open_dataset(str(tmp_path / "images"))
    requirement = Requirement.of_card(dataset.card)
    choice = choose(requirement, store, machine=made_up.MACHINE)
    create, asked = vertebra.zoo.create, []

    def without_downloads(name: str, *, num_classes: int, weights: str) -> Any:
        asked.append((name, weights))
        if name == "vgg11":
            raise VertebraError("these weights cannot be had")
        return create(name, num_classes=num_classes, seed=0, input_size=(3, 64, 64))

    monkeypatch.setattr(vertebra.zoo, "create", without_downloads)
    told: list[str] = []
    known = probe_candidates(choice, dataset, 3, OnData(), told.append)
    assert {name for name, _ in asked} == set(names)
    assert all(weights for _, weights in asked)
    assert set(known.accuracies) == {"mobilenet_v3_small", "resnet18"}
    # Bright and dark folders are told apart by any features.
    assert all(found.value > 0.9 for found in known.accuracies.values())
    assert all(found.kind == "probe" for found in known.accuracies.values())
    assert any("vgg11 is not probed: these weights" in text for text in told)
    again = choose(requirement, store, machine=made_up.MACHINE, on_data=known)
    assert again.recommended is not None
    assert again.recommended.model in known.accuracies
