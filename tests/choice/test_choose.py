"""From a store to a choice, on made-up measurements."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import pytest
from chosen import chosen

import made_up
from vertebra.choice import Accuracy, OnData, Requirement, choose
from vertebra.choice.facts import usable_weights
from vertebra.choice.limits import AXES, shown_value, typed
from vertebra.evidence import Evidence
from vertebra.zoo import get, list_models


def test_what_is_recommended_is_measured_and_within_every_limit(store: Evidence) -> None:
    choice = chosen(store, images=20_000, classes=100, latency_ms=10.0, file_mb=100.0)
    winner = choice.recommended
    assert winner is not None
    assert winner.is_measured
    assert winner.cost is not None
    assert winner.cost.seconds <= 0.01
    assert winner.cost.file is not None
    assert winner.cost.file <= 100e6
    named = {one.model for one, _ in choice.why_not} | {winner.model}
    assert named == {n for n in list_models() if get(n).input_size[1] > 64}


def test_a_network_that_was_not_measured_is_predicted_with_its_error_and_never_wins(
    store: Evidence,
) -> None:
    choice = chosen(store, images=20_000, classes=100, engines=("eager",))
    says = {one.model: (one, text) for one, text in choice.why_not}
    one, text = says["resnet152"]
    assert one.cost is not None
    assert one.cost.error is not None
    assert one.cost.seconds == pytest.approx(
        made_up.seconds(get("resnet152"), "eager fp32"), rel=0.1
    )
    assert text.startswith("unmeasured: predicted")
    assert all(one.is_measured for one in choice.front)


def test_engines_and_precisions_that_are_not_allowed_are_not_used(store: Evidence) -> None:
    choice = chosen(store, images=20_000, engines=("eager",))
    assert choice.recommended is not None
    assert choice.recommended.engine == "eager"
    none = chosen(store, images=20_000, precisions=("int8",))
    assert none.recommended is None
    assert none.nearest == ("no p50 was measured here under these conditions yet",)


def test_contradictory_limits_name_what_nearly_fits_and_what_to_relax(store: Evidence) -> None:
    choice = chosen(store, images=20_000, latency_ms=0.5, min_accuracy=0.8)
    assert choice.recommended is None
    assert len(choice.nearest) == 3
    assert "relax latency_ms to" in choice.nearest[0]
    # The first is the one whose worst break is least, by a plain search over what was measured.
    beyond = {}
    for name in made_up.MEASURED:
        weights = usable_weights(get(name), Requirement())
        if weights is None or weights.top1 is None:
            continue
        for setting in made_up.RATES:
            slow = 1e3 * made_up.seconds(get(name), setting) / 0.5 - 1
            beyond[f"{name} in {setting}"] = max(slow, (0.8 - weights.top1) / 0.8)
    assert choice.nearest[0].startswith(min(beyond, key=lambda one: beyond[one]))


def test_from_scratch_accuracy_is_unknown_and_runs_are_proposed(store: Evidence) -> None:
    choice = chosen(store, images=50_000, classes=10, pretrained=False)
    winner = choice.recommended
    assert winner is not None
    assert winner.accuracy is None
    assert winner.weights is None
    assert any("accuracy unknown" in text for text in choice.why)
    assert any(text.startswith("vertebra train DATA --model") for text in choice.proposals)


def test_runs_on_the_very_data_outweigh_everything_published(store: Evidence) -> None:
    best = Accuracy(0.61, "runs", "runs/a, validation")
    known = OnData({"mobilenet_v2": best, "resnet50": replace(best, value=0.58)})
    choice = chosen(store, known, images=20_000, classes=100)
    assert choice.recommended is not None
    assert choice.recommended.model == "mobilenet_v2"
    says = {one.model: text for one, text in choice.why_not}
    assert "stronger evidence" in says["convnext_tiny"]


def test_a_run_with_nothing_beside_it_outranks_nothing(store: Evidence) -> None:
    """One that went badly would win against every other network."""
    without = chosen(store, images=20_000, classes=100)
    lonely = OnData({"alexnet": Accuracy(0.05, "runs", "runs/a, validation")})
    choice = chosen(store, lonely, images=20_000, classes=100)
    assert choice.recommended == without.recommended
    assert choice.notes[0].startswith("alexnet reached 5.0 % on your images; nothing")
    # It is held against a limit all the same, and against probes.
    reached = OnData({"alexnet": Accuracy(0.95, "runs", "runs/a, validation")})
    choice = chosen(store, reached, images=20_000, classes=100, min_accuracy=0.9)
    assert choice.recommended is not None
    assert choice.recommended.model == "alexnet"
    beside = OnData({**lonely.accuracies, "resnet18": Accuracy(0.7, "probe", "features")})
    choice = chosen(store, beside, images=20_000, classes=100)
    assert choice.recommended is not None
    assert choice.recommended.model == "resnet18"


def test_too_few_images_are_told_with_the_rule_and_its_source(tmp_path: Path) -> None:
    """Swin-L is on the front, since no other is as accurate, and a rule speaks against it."""
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    store.add(
        [made_up.measurement(name) for name in (*made_up.MEASURED, "swin_l")], made_up.MACHINE
    )
    says = {one.model: text for one, text in chosen(store, images=30_000, classes=10).why_not}
    assert "needs more images: under 1 000 000 images" in says["swin_l"]
    assert "(cnn.under-1m; commonly taught; Dosovitskiy et al., 2020" in says["swin_l"]
    # Under 10 000 images a rule of weights speaks against most: not for want of images.
    few = [text for _, text in chosen(store, images=3_000, classes=10).why_not]
    assert not any("needs more images: under 10 000" in text for text in few)


def test_probes_are_weaker_than_runs_and_logme_judges_nothing(store: Evidence) -> None:
    accuracies = {
        "mobilenet_v2": Accuracy(0.61, "probe", "features"),
        "resnet50": Accuracy(0.70, "probe", "features"),
    }
    plain = chosen(store, OnData(accuracies), images=20_000)
    scored = chosen(
        store, OnData(accuracies, {"mobilenet_v2": 99.0, "resnet50": -9.0}), images=20_000
    )
    assert plain.recommended is not None
    assert scored.recommended is not None
    assert plain.recommended.model == scored.recommended.model == "resnet50"
    assert scored.recommended.logme == -9.0


def test_int8_on_random_images_is_never_recommended(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    fast = made_up.measurement("resnet50", "openvino bf16")
    conditions = dataclasses.replace(fast.conditions, precision="int8")
    store.add([dataclasses.replace(fast, conditions=conditions, cost_only=True)])
    choice = chosen(store, images=20_000)
    assert choice.recommended is None


def test_maps_of_several_resolutions_and_licences_rule_networks_out(store: Evidence) -> None:
    choice = chosen(store, images=20_000, must_features=True, licence=("apache-2.0",))
    says = {one.model: text for one, text in choice.why_not}
    assert "one resolution" in says["vit_b_16"]
    assert "licence" in says["vgg16"]
    assert choice.recommended is not None
    assert choice.recommended.weights is not None


def test_a_choice_is_plain_data(store: Evidence) -> None:
    choice = chosen(store, images=20_000, classes=100, latency_ms=10.0)
    assert choice.recommended is not None
    plain = json.loads(json.dumps(choice.to_dict(), allow_nan=False))
    assert plain["schema"] == "vertebra.choice/1"
    assert plain["recommended"]["model"] == choice.recommended.model
    assert plain["advice"]["commands"]


def test_commands_ask_under_the_conditions_of_the_question(tmp_path: Path) -> None:
    """Else the answer would see nothing new and propose the same again."""
    empty = Evidence(str(tmp_path / "evidence.sqlite"))
    asked = {"batch_served": 8, "threads": 1, "percentile": "p99", "input_size": 256}
    choice = chosen(empty, images=20_000, engines=("openvino",), precisions=("fp32",), **asked)
    (command, *_) = choice.proposals
    assert command.startswith("vertebra bench ")
    for words in (
        *("--engine openvino", "--precision fp32", "--batch 8", "--threads 1"),
        *("--percentile p99", "--image-size 256"),
    ):
        assert words in command


def test_only_predictions_that_may_count_are_told(store: Evidence) -> None:
    told = {
        engine: [n for n in chosen(store, images=20_000, engines=(engine,)).notes if "predic" in n]
        for engine in ("openvino", "tensorrt")
    }
    assert told["openvino"]
    assert all("openvino" in note for note in told["openvino"])
    assert not told["tensorrt"]


def test_nothing_is_proposed_that_no_cpu_runs(tmp_path: Path) -> None:
    empty = Evidence(str(tmp_path / "evidence.sqlite"))
    choice = chosen(empty, images=20_000, engines=("onnxruntime",), precisions=("bf16",))
    assert not any(text.startswith("vertebra bench") for text in choice.proposals)
    assert (
        "onnxruntime in bf16 cannot run here: ONNX Runtime's CPU provider has no bf16 convolution"
        in choice.notes
    )
    some = {"engines": ("onnxruntime", "cudagraphs"), "precisions": ("fp16", "fp32")}
    choice = chosen(empty, images=20_000, **some)
    assert "--engine onnxruntime --precision fp32" in choice.proposals[0]
    assert not any("cannot run here" in text for text in choice.notes)


@pytest.mark.parametrize(
    ("field", "value", "holds", "text"),
    [
        ("latency_ms", 35.97, True, "36.0 ms"),
        ("latency_ms", 36.03, True, "36.1 ms"),
        ("latency_ms", 21.035, True, "21.1 ms"),
        ("latency_ms", 20.7, False, "20.6 ms"),
        ("min_accuracy", 0.67668, True, "0.676"),
        ("min_accuracy", 0.67668, False, "0.677"),
        ("throughput", 48.26, True, "48.2 images/s"),
        ("memory_mb", 1234.0, True, "1240 MB"),
    ],
)
def test_a_limit_that_is_told_holds_when_it_is_typed(
    field: str, value: float, holds: bool, text: str
) -> None:
    axis = next(axis for axis in AXES if axis.field == field)
    assert typed(axis, value, holds) == text


def test_what_would_change_the_answer_changes_it_as_it_is_printed(store: Evidence) -> None:
    asked = {"images": 20_000, "latency_ms": 30.0, "engines": ("openvino",), "memory_mb": 300.0}
    choice = chosen(store, **asked)
    assert choice.recommended is not None
    checked = 0
    for flip in choice.flips:
        if flip.field in ("latency_ms", "memory_mb", "file_mb", "throughput"):
            number = float(flip.says.split(" limit of ")[1].split()[0])
            again = chosen(store, **{**asked, flip.field: number}).recommended
            assert (again and again.model) == (flip.becomes and flip.becomes.model), flip.says
            checked += 1
    assert checked >= 3


def test_commands_name_the_data_and_the_bench_that_is_missing(store: Evidence) -> None:
    asked = Requirement(images=2_000_000, prefer="accuracy")
    choice = choose(asked, store, machine=made_up.MACHINE, data="photos/")
    assert any(text.startswith("vertebra train photos/ --model") for text in choice.proposals)
    assert any("vertebra data photos/" in text for text in choice.notes)
    better = [text.split(" in ")[0] for text in choice.notes if "may be the better" in text]
    assert better
    benches = [text for text in choice.proposals if text.startswith("vertebra bench")]
    assert all(any(name in text for text in benches) for name in better)


@pytest.mark.parametrize("asked", [{"latency_ms": 1000.0}, {"latency_ms": 0.001}])
def test_where_few_were_measured_the_others_are_to_be_measured_first(
    tmp_path: Path, asked: dict[str, float]
) -> None:
    few = Evidence(str(tmp_path / "evidence.sqlite"))
    few.add([made_up.measurement(name) for name in ("resnet18", "resnet50")], made_up.MACHINE)
    choice = chosen(few, images=20_000, classes=100, **asked)
    first, *others = choice.proposals
    assert first.startswith("vertebra bench ")
    assert "resnet18" not in first
    assert not any("alexnet" in text for text in others), "nobody knows what it costs"
    assert any("too few to predict" in text for text in choice.notes)


def test_a_memory_of_gigabytes_is_told_in_whole_megabytes() -> None:
    (axis,) = (axis for axis in AXES if axis.field == "memory_mb")
    assert shown_value(axis, 1234.4) == "1234 MB"
    assert shown_value(axis, 999.4) == "999 MB"
