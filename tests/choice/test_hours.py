"""Hours of training: what tells them, and what they decide."""

from __future__ import annotations

from pathlib import Path

import pytest
from chosen import chosen

import made_up
from vertebra.evidence import Evidence
from vertebra.zoo import list_models


def test_hours_of_training_are_a_limit_on_this_machine_and_none_on_a_gpu(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    store.add(
        [*(made_up.measurement(name) for name in made_up.MEASURED), made_up.step("resnet18", 20.0)]
    )
    free = chosen(store, images=100_000, prefer="accuracy")
    short = chosen(store, images=100_000, prefer="accuracy", hours=20.0)
    assert free.recommended is not None
    assert short.recommended is not None
    assert short.recommended.hours is not None
    assert short.recommended.hours <= 20
    assert short.recommended.model != free.recommended.model
    on_gpu = chosen(store, images=100_000, prefer="accuracy", hours=1.0, gpus=1)
    assert on_gpu.recommended is not None
    assert any("on a GPU are not known" in text for text in on_gpu.notes)


def test_hours_go_by_steps_that_were_measured_and_by_nothing_else(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    some = [made_up.measurement(name) for name in ("resnet18", "resnet34", "resnet50")]
    store.add(some)
    unknown = chosen(store, images=36_000, hours=1e-3)
    assert unknown.recommended is not None
    assert unknown.recommended.hours is None
    assert any("they do not limit it" in text for text in unknown.notes)
    command = f"vertebra bench {unknown.recommended.model} --workload train --batch 32"
    assert any(proposal.startswith(command) for proposal in unknown.proposals)

    store.add([made_up.step("resnet18", 20.0)])
    choice = chosen(store, images=36_000, hours=1000.0, exclude=("resnet34", "resnet50"))
    assert choice.recommended is not None
    assert choice.recommended.hours == pytest.approx(36_000 * 20 / 20 / 3600)
    assert not choice.recommended.hours_guessed


def test_hours_of_others_are_told_by_the_passes_that_a_step_takes(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    forwards = {name: made_up.measurement(name) for name in ("resnet18", "resnet34", "resnet50")}
    store.add(list(forwards.values()))
    # Steps of a half and of one and a half forward passes: one pass in the middle.
    for name, passes in (("resnet18", 0.5), ("resnet34", 1.5)):
        store.add([made_up.step(name, 1 / (passes * forwards[name].p50))])
    choice = chosen(store, images=36_000, hours=1000.0, exclude=("resnet18", "resnet34"))
    assert choice.recommended is not None
    assert choice.recommended.model == "resnet50"
    assert choice.recommended.hours_guessed
    assert choice.recommended.hours == pytest.approx(36_000 * 20 * forwards["resnet50"].p50 / 3600)
    assert any("1 forward passes (0.5 to 1.5 in 2 networks" in text for text in choice.notes)


def test_one_step_that_is_known_silences_no_other_network(tmp_path: Path) -> None:
    """Without a forward pass in eager PyTorch nobody else's hours can be told."""
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    store.add([made_up.measurement(name, "openvino bf16") for name in ("resnet18", "resnet50")])
    before = chosen(store, images=20_000, hours=10.0).recommended
    store.add([made_up.step("resnet18", 200.0)])
    after = chosen(store, images=20_000, hours=10.0)
    assert before is not None
    assert after.recommended is not None
    assert after.recommended.model == before.model == "resnet50"
    assert any("resnet50 are not known" in text for text in after.notes)


def test_hours_are_those_of_the_recipe_that_is_advised(tmp_path: Path) -> None:
    """From scratch ConvNeXt is taught to take 300 epochs, ResNet 90."""
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    for name in ("resnet18", "convnext_atto"):
        store.add([made_up.measurement(name), made_up.step(name, 100.0)])
    for name, epochs in (("resnet18", 90), ("convnext_atto", 300)):
        others = tuple(model for model in list_models() if model != name)
        choice = chosen(store, images=36_000, hours=999.0, pretrained=False, exclude=others)
        assert choice.recommended is not None
        assert choice.recommended.hours == pytest.approx(36_000 * epochs / 100 / 3600)


def test_what_more_images_cost_in_hours_turns_the_answer_as_a_new_question_would(
    tmp_path: Path,
) -> None:
    """Under a thousand pretrained images only a head is trained, on forward passes."""
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    for name, pace in (("resnet18", 30.0), ("resnet50", 11.0)):
        store.add([made_up.measurement(name), made_up.step(name, pace)])
    turned = []
    for images in (500, 999, 1_000, 3_000):
        choice = chosen(store, images=images, hours=1.0, prefer="accuracy")
        assert choice.recommended is not None
        for flip in choice.flips:
            if flip.field == "images":
                asked = int(flip.value)
                again = chosen(store, images=asked, hours=1.0, prefer="accuracy").recommended
                assert (again and again.model) == (flip.becomes and flip.becomes.model)
                assert (again and again.hours) == (flip.becomes and flip.becomes.hours)
                turned.append(again and again.model)
    assert None in turned
    assert "resnet18" in turned or "resnet50" in turned
    few = chosen(store, images=900, hours=99.0, prefer="accuracy").recommended
    assert few is not None
    forward = made_up.measurement(few.model).p50
    assert few.hours == pytest.approx(900 * 100 * forward / 3600)
    assert few.hours_guessed
