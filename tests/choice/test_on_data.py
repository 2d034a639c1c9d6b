"""Evidence from the very data: runs on it, and probes of the candidates' features."""

from __future__ import annotations

import json
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
    meant = Requirement(images=24, input_size=32)
    known = from_runs(runs, fingerprint, meant)
    found = known.accuracies
    assert list(found) == ["lenet5"]
    assert not known.notes
    of_each = [
        max(line["val_top1"] for line in Run.open(runs / name).epochs) for name in ("a", "b")
    ]
    assert found["lenet5"].value == max(of_each)
    assert found["lenet5"].interval is not None
    assert from_runs(tmp_path / "nowhere", fingerprint, meant) == OnData()
    other = from_runs(runs, fingerprint, Requirement(images=24, input_size=64))
    assert not other.accuracies
    assert [note.partition(": ")[2] for note in other.notes] == [
        "it saw 32 pixels, and 64 are meant (--input-size 32 counts it)"
    ] * 2


def _run_on(
    tmp_path: Path, top1: float, *, size: int = 224, licence: Any = None, **model: Any
) -> tuple[OnData, Requirement]:
    """What is known from one run of ResNet-50 for a requirement that may take weights."""
    recipe = Recipe.load("finetune", model="resnet50", data="mine", image_size=size)
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update=model)})
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    card = {"fingerprint": "mine", "counts": {"train": {"x": 80}, "val": {"x": 20}}}
    (folder / "data.json").write_text(json.dumps(card))
    (folder / "metrics.jsonl").write_text(
        json.dumps({"kind": "epoch", "epoch": 1, "val_top1": top1}) + "\n"
    )
    requirement = Requirement(images=20_000, licence=licence)
    return from_runs(tmp_path / "runs", "mine", requirement), requirement


def test_a_run_s_accuracy_is_of_the_weights_that_it_began_from(tmp_path: Path) -> None:
    known, _ = _run_on(tmp_path, 0.95, weights="IMAGENET1K_V1")
    assert known.accuracies["resnet50"].weights == "IMAGENET1K_V1"
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    store.add([made_up.measurement("resnet50")], made_up.MACHINE)
    asked = Requirement(images=20_000, min_accuracy=0.9)
    choice = choose(asked, store, machine=made_up.MACHINE, on_data=known)
    assert choice.recommended is not None
    assert choice.recommended.weights == "IMAGENET1K_V1"  # and not the best that are published


@pytest.mark.parametrize(
    ("ran", "says"),
    [
        ({"size": 64}, "saw 64 pixels, and 224 are meant"),
        ({"options": {"stem": "patch"}}, "changed stem"),
        ({"weights": "IMAGENET1K_V1", "licence": ("mit",)}, "licence is not accepted"),
    ],
)
def test_a_run_of_another_network_than_is_served_does_not_count(
    tmp_path: Path, ran: dict[str, Any], says: str
) -> None:
    known, requirement = _run_on(tmp_path, 0.95, **ran)
    assert not known.accuracies
    (note,) = known.notes
    assert says in note
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    store.add([made_up.measurement("resnet50")], made_up.MACHINE)
    choice = choose(requirement, store, machine=made_up.MACHINE, on_data=known)
    assert note in choice.notes


def test_a_run_from_weights_does_not_count_where_none_are_to_be_had(tmp_path: Path) -> None:
    _run_on(tmp_path, 0.95, weights="IMAGENET1K_V1")
    known = from_runs(tmp_path / "runs", "mine", Requirement(images=20_000, pretrained=False))
    assert not known.accuracies
    assert "no weights are to be had" in known.notes[0]


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
