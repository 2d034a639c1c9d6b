"""From a store to a choice, on made-up measurements."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import made_up
from vertebra.choice import Accuracy, Choice, OnData, Requirement, choose
from vertebra.choice.facts import usable_weights
from vertebra.choice.limits import AXES, typed
from vertebra.evidence import Evidence, Measurement
from vertebra.zoo import get, list_models

MEASURED = [
    *["alexnet", "vgg11", "vgg16", "googlenet", "resnet18", "resnet34", "resnet50", "resnet101"],
    *["inception_v3", "densenet121", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"],
    *["efficientnet_b0", "efficientnet_b2", "efficientnet_b4", "vit_b_16", "vit_s_16", "swin_t"],
    *["convnext_atto", "convnext_tiny", "convnext_small", "mobilevit_s"],
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    store = Evidence(str(tmp_path_factory.mktemp("store") / "evidence.sqlite"))
    for setting in ("eager fp32", "openvino bf16"):
        store.add([made_up.measurement(name, setting) for name in MEASURED], made_up.MACHINE)
    return store


def _choose(store: Evidence, on_data: OnData | None = None, **asked: object) -> Choice:
    return choose(Requirement(**asked), store, machine=made_up.MACHINE, on_data=on_data)


def test_what_is_recommended_is_measured_and_within_every_limit(store: Evidence) -> None:
    choice = _choose(store, images=20_000, classes=100, latency_ms=10.0, file_mb=100.0)
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
    choice = _choose(store, images=20_000, classes=100, engines=("eager",))
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
    choice = _choose(store, images=20_000, engines=("eager",))
    assert choice.recommended is not None
    assert choice.recommended.engine == "eager"
    none = _choose(store, images=20_000, precisions=("int8",))
    assert none.recommended is None
    assert none.nearest == ("no p50 was measured here under these conditions yet",)


def test_measurements_of_another_machine_are_no_evidence_here(store: Evidence) -> None:
    other = dataclasses.replace(made_up.MACHINE, processor="another")
    choice = choose(Requirement(images=20_000), store, machine=other)
    assert choice.recommended is None
    assert choice.proposals[0].startswith("vertebra bench ")


def test_contradictory_limits_name_what_nearly_fits_and_what_to_relax(store: Evidence) -> None:
    choice = _choose(store, images=20_000, latency_ms=0.5, min_accuracy=0.8)
    assert choice.recommended is None
    assert len(choice.nearest) == 3
    assert "relax latency_ms to" in choice.nearest[0]
    # The first is the one whose worst break is least, by a plain search over what was measured.
    beyond = {}
    for name in MEASURED:
        weights = usable_weights(get(name), Requirement())
        if weights is None or weights.top1 is None:
            continue
        for setting in made_up.RATES:
            slow = 1e3 * made_up.seconds(get(name), setting) / 0.5 - 1
            beyond[f"{name} in {setting}"] = max(slow, (0.8 - weights.top1) / 0.8)
    assert choice.nearest[0].startswith(min(beyond, key=lambda one: beyond[one]))


def test_from_scratch_accuracy_is_unknown_and_runs_are_proposed(store: Evidence) -> None:
    choice = _choose(store, images=50_000, classes=10, pretrained=False)
    winner = choice.recommended
    assert winner is not None
    assert winner.accuracy is None
    assert winner.weights is None
    assert any("accuracy unknown" in text for text in choice.why)
    assert any(text.startswith("vertebra train DATA --model") for text in choice.proposals)


def test_runs_on_the_very_data_outweigh_everything_published(store: Evidence) -> None:
    best = Accuracy(0.61, "runs", "runs/a, validation")
    known = OnData({"mobilenet_v2": best, "resnet50": replace(best, value=0.58)})
    choice = _choose(store, known, images=20_000, classes=100)
    assert choice.recommended is not None
    assert choice.recommended.model == "mobilenet_v2"
    says = {one.model: text for one, text in choice.why_not}
    assert "stronger evidence" in says["convnext_tiny"]


def test_a_run_with_nothing_beside_it_outranks_nothing(store: Evidence) -> None:
    """One that went badly would win against every other network."""
    without = _choose(store, images=20_000, classes=100)
    lonely = OnData({"alexnet": Accuracy(0.05, "runs", "runs/a, validation")})
    choice = _choose(store, lonely, images=20_000, classes=100)
    assert choice.recommended == without.recommended
    assert choice.notes[0].startswith("alexnet reached 5.0 % on your images; nothing")
    # It is held against a limit all the same, and against probes.
    reached = OnData({"alexnet": Accuracy(0.95, "runs", "runs/a, validation")})
    choice = _choose(store, reached, images=20_000, classes=100, min_accuracy=0.9)
    assert choice.recommended is not None
    assert choice.recommended.model == "alexnet"
    beside = OnData({**lonely.accuracies, "resnet18": Accuracy(0.7, "probe", "features")})
    choice = _choose(store, beside, images=20_000, classes=100)
    assert choice.recommended is not None
    assert choice.recommended.model == "resnet18"


def test_too_few_images_are_told_with_the_rule_and_its_source(tmp_path: Path) -> None:
    """Swin-L is on the front, since no other is as accurate, and a rule speaks against it."""
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    store.add([made_up.measurement(name) for name in (*MEASURED, "swin_l")], made_up.MACHINE)
    says = {one.model: text for one, text in _choose(store, images=30_000, classes=10).why_not}
    assert "needs more images: under 1 000 000 images" in says["swin_l"]
    assert "(cnn.under-1m; commonly taught; Dosovitskiy et al., 2020" in says["swin_l"]
    # Under 10 000 images a rule of weights speaks against most: not for want of images.
    few = [text for _, text in _choose(store, images=3_000, classes=10).why_not]
    assert not any("needs more images: under 10 000" in text for text in few)


def test_probes_are_weaker_than_runs_and_logme_judges_nothing(store: Evidence) -> None:
    accuracies = {
        "mobilenet_v2": Accuracy(0.61, "probe", "features"),
        "resnet50": Accuracy(0.70, "probe", "features"),
    }
    plain = _choose(store, OnData(accuracies), images=20_000)
    scored = _choose(
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
    choice = _choose(store, images=20_000)
    assert choice.recommended is None


def test_maps_of_several_resolutions_and_licences_rule_networks_out(store: Evidence) -> None:
    choice = _choose(store, images=20_000, must_features=True, licence=("apache-2.0",))
    says = {one.model: text for one, text in choice.why_not}
    assert "one resolution" in says["vit_b_16"]
    assert "licence" in says["vgg16"]
    assert choice.recommended is not None
    assert choice.recommended.weights is not None


def test_hours_of_training_are_a_limit_on_this_machine_and_none_on_a_gpu(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    store.add([*(made_up.measurement(name) for name in MEASURED), _step("resnet18", 20.0)])
    free = _choose(store, images=100_000, prefer="accuracy")
    short = _choose(store, images=100_000, prefer="accuracy", hours=20.0)
    assert free.recommended is not None
    assert short.recommended is not None
    assert short.recommended.hours is not None
    assert short.recommended.hours <= 20
    assert short.recommended.model != free.recommended.model
    on_gpu = _choose(store, images=100_000, prefer="accuracy", hours=1.0, gpus=1)
    assert on_gpu.recommended is not None
    assert any("on a GPU are not known" in text for text in on_gpu.notes)


def test_p99_is_judged_by_p99_and_not_by_another(store: Evidence, tmp_path: Path) -> None:
    without = _choose(store, images=20_000, latency_ms=50.0, percentile="p99")
    assert without.recommended is None
    assert without.nearest == ("no p99 was measured here under these conditions yet",)
    assert {one.model for one, _ in without.why_not} >= set(MEASURED)
    with_p99 = Evidence(str(tmp_path / "evidence.sqlite"))
    slow_tail = dataclasses.replace(made_up.measurement("resnet18"), p99=0.2)
    with_p99.add([slow_tail])
    assert _choose(with_p99, images=20_000, latency_ms=50.0).recommended is not None
    tail = _choose(with_p99, images=20_000, latency_ms=50.0, percentile="p99")
    assert tail.recommended is None
    assert "latency 200 ms" in tail.nearest[0]


def test_a_choice_is_plain_data(store: Evidence) -> None:
    choice = _choose(store, images=20_000, classes=100, latency_ms=10.0)
    assert choice.recommended is not None
    plain = json.loads(json.dumps(choice.to_dict(), allow_nan=False))
    assert plain["schema"] == "vertebra.choice/1"
    assert plain["recommended"]["model"] == choice.recommended.model
    assert plain["advice"]["commands"]


def test_hours_go_by_steps_that_were_measured_and_by_nothing_else(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    some = [made_up.measurement(name) for name in ("resnet18", "resnet34", "resnet50")]
    store.add(some)
    unknown = _choose(store, images=36_000, hours=1e-3)
    assert unknown.recommended is not None
    assert unknown.recommended.hours is None
    assert any("they do not limit it" in text for text in unknown.notes)
    command = f"vertebra bench {unknown.recommended.model} --workload train --batch 32"
    assert any(proposal.startswith(command) for proposal in unknown.proposals)

    store.add([_step("resnet18", 20.0)])
    choice = _choose(store, images=36_000, hours=1000.0, exclude=("resnet34", "resnet50"))
    assert choice.recommended is not None
    assert choice.recommended.hours == pytest.approx(36_000 * 20 / 20 / 3600)
    assert not choice.recommended.hours_guessed


def test_hours_of_others_are_told_by_the_passes_that_a_step_takes(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    forwards = {name: made_up.measurement(name) for name in ("resnet18", "resnet34", "resnet50")}
    store.add(list(forwards.values()))
    # Steps of a half and of one and a half forward passes: one pass in the middle.
    for name, passes in (("resnet18", 0.5), ("resnet34", 1.5)):
        store.add([_step(name, 1 / (passes * forwards[name].p50))])
    choice = _choose(store, images=36_000, hours=1000.0, exclude=("resnet18", "resnet34"))
    assert choice.recommended is not None
    assert choice.recommended.model == "resnet50"
    assert choice.recommended.hours_guessed
    assert choice.recommended.hours == pytest.approx(36_000 * 20 * forwards["resnet50"].p50 / 3600)
    assert any("1 forward passes (0.5 to 1.5 in 2 networks" in text for text in choice.notes)


def _step(model: str, images_a_second: float) -> Measurement:
    """Of training, 32 images at a time."""
    made = made_up.measurement(model)
    shape = (32, *made.conditions.input_shape[1:])
    conditions = replace(made.conditions, workload="train", input_shape=shape)
    return replace(made, conditions=conditions, images_per_second=images_a_second)


def test_times_that_were_not_taken_in_turn_decide_only_if_they_are_far_apart(
    tmp_path: Path,
) -> None:
    quick = replace(made_up.measurement("resnet50"), extra={"turns": "today"})
    near = made_up.measurement("efficientnet_b3")  # 0.8 points more accurate
    for beside, turns, doubt in ((1.2, "then", True), (1.3, "then", False), (1.2, "today", False)):
        slower = replace(near, p50=beside * quick.p50, extra={"turns": turns})
        store = Evidence(str(tmp_path / f"{beside}{turns}.sqlite"))
        store.add([quick, slower])
        choice = _choose(store, images=300_000, latency_ms=1e3 * quick.p50)
        assert choice.recommended is not None
        assert choice.recommended.model == "resnet50"
        assert any("measure them in turn" in text for text in choice.notes) == doubt
        command = "vertebra bench resnet50 efficientnet_b3 --engine eager --precision fp32 --force"
        assert (command in choice.proposals) == doubt


def test_of_two_versions_of_an_engine_the_newest_is_believed(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    old = made_up.measurement("resnet18")
    conditions = dataclasses.replace(old.conditions, engine_version="2.0")
    new = dataclasses.replace(
        old, conditions=conditions, p50=2 * old.p50, measured_at="2026-02-01T00:00:00+00:00"
    )
    store.add([new, old])
    choice = _choose(store, images=20_000)
    assert choice.recommended is not None
    assert choice.recommended.cost is not None
    assert choice.recommended.cost.seconds == new.p50


def test_times_hold_for_the_size_that_was_measured_only(tmp_path: Path) -> None:
    """At twice the size a network does four times the work: predicted, until it is measured."""
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    store.add([made_up.measurement(name) for name in MEASURED], made_up.MACHINE)
    asked = {"images": 20_000, "engines": ("eager",), "input_size": 448}
    choice = _choose(store, **asked)
    assert choice.recommended is None
    one = next(one for one, _ in choice.why_not if one.model == "resnet50")
    own = made_up.measurement("resnet50")
    assert one.gmacs == pytest.approx(4 * get("resnet50").macs / 1e9)
    assert one.cost is not None
    assert one.cost.seconds == pytest.approx(4 * own.p50, rel=0.2)
    assert one.cost.error is not None

    large = replace(
        own,
        conditions=replace(own.conditions, fingerprint="another", input_shape=(1, 3, 448, 448)),
        p50=0.5,
    )
    store.add([large])
    assert _choose(store, **asked).recommended is None, "a network of that name, for all we know"
    store.add([replace(large, extra={"catalogue": get("resnet50").fingerprint})])
    choice = _choose(store, **asked)
    assert choice.recommended is not None
    assert choice.recommended.cost is not None
    assert choice.recommended.cost.seconds == 0.5
    assert any("resnet50: 224 pixels), times hold for 448" in text for text in choice.notes)
    small = _choose(store, **{**asked, "input_size": 224}).recommended
    assert small is not None
    assert small.cost is not None
    assert small.cost.seconds < 0.5


def test_networks_are_known_by_their_graph_and_not_by_their_name(tmp_path: Path) -> None:
    """And looking another library's up by its name would load PyTorch."""
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    made = made_up.measurement("resnet50")
    other = replace(made.conditions, fingerprint="another")
    store.add(
        [
            replace(made, model="timm/resnet50"),
            replace(made, model="timm/resnet50_other", conditions=other, p50=1e-3),
            replace(made, model="resnet18", conditions=other, p50=1e-3),
        ]
    )
    program = (
        "import sys\n"
        "import made_up\n"
        "from vertebra.choice import Requirement, choose\n"
        "from vertebra.evidence import Evidence\n"
        f"store = Evidence({str(tmp_path / 'evidence.sqlite')!r})\n"
        "choice = choose(Requirement(images=20_000), store, machine=made_up.MACHINE)\n"
        "print(choice.recommended.model, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(made_up.__file__).parent,
    )
    assert done.stdout.split() == ["resnet50", "False"]


def test_one_step_that_is_known_silences_no_other_network(tmp_path: Path) -> None:
    """Without a forward pass in eager PyTorch nobody else's hours can be told."""
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    store.add([made_up.measurement(name, "openvino bf16") for name in ("resnet18", "resnet50")])
    before = _choose(store, images=20_000, hours=10.0).recommended
    store.add([_step("resnet18", 200.0)])
    after = _choose(store, images=20_000, hours=10.0)
    assert before is not None
    assert after.recommended is not None
    assert after.recommended.model == before.model == "resnet50"
    assert any("resnet50 are not known" in text for text in after.notes)


def test_a_later_measurement_of_fewer_calls_does_not_hide_a_p99(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    made = made_up.measurement("resnet50")
    tail = replace(made, p99=2 * made.p50)
    later = replace(made, p50=1.1 * made.p50, measured_at="2026-03-01T00:00:00+00:00")
    store.add([tail, later])
    for percentile, seconds in (("p99", 2 * made.p50), ("p50", 1.1 * made.p50)):
        winner = _choose(store, images=20_000, percentile=percentile).recommended
        assert winner is not None
        assert winner.cost is not None
        assert winner.cost.seconds == pytest.approx(seconds)


def test_what_was_disturbed_while_it_was_measured_is_said(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    disturbed = ("other processes took 50 % of the cores",)
    store.add([replace(made_up.measurement("resnet50"), warnings=disturbed)])
    assert any(disturbed[0] in text for text in _choose(store, images=20_000).notes)


def test_commands_ask_under_the_conditions_of_the_question(tmp_path: Path) -> None:
    """Else the answer would see nothing new and propose the same again."""
    empty = Evidence(str(tmp_path / "evidence.sqlite"))
    asked = {"batch_served": 8, "threads": 1, "percentile": "p99", "input_size": 256}
    choice = _choose(empty, images=20_000, engines=("openvino",), precisions=("bf16",), **asked)
    (command, *_) = choice.proposals
    assert command.startswith("vertebra bench ")
    for words in (
        *("--engine openvino", "--precision bf16", "--batch 8", "--threads 1"),
        *("--percentile p99", "--image-size 256"),
    ):
        assert words in command


def test_hours_are_those_of_the_recipe_that_is_advised(tmp_path: Path) -> None:
    """From scratch ConvNeXt is taught to take 300 epochs, ResNet 90."""
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    for name in ("resnet18", "convnext_atto"):
        store.add([made_up.measurement(name), _step(name, 100.0)])
    for name, epochs in (("resnet18", 90), ("convnext_atto", 300)):
        others = tuple(model for model in list_models() if model != name)
        choice = _choose(store, images=36_000, hours=999.0, pretrained=False, exclude=others)
        assert choice.recommended is not None
        assert choice.recommended.hours == pytest.approx(36_000 * epochs / 100 / 3600)


def test_what_more_images_cost_in_hours_turns_the_answer_as_a_new_question_would(
    tmp_path: Path,
) -> None:
    """Under a thousand pretrained images only a head is trained, on forward passes."""
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    for name, pace in (("resnet18", 30.0), ("resnet50", 11.0)):
        store.add([made_up.measurement(name), _step(name, pace)])
    turned = []
    for images in (500, 999, 1_000, 3_000):
        choice = _choose(store, images=images, hours=1.0, prefer="accuracy")
        assert choice.recommended is not None
        for flip in choice.flips:
            if flip.field == "images":
                asked = int(flip.value)
                again = _choose(store, images=asked, hours=1.0, prefer="accuracy").recommended
                assert (again and again.model) == (flip.becomes and flip.becomes.model)
                assert (again and again.hours) == (flip.becomes and flip.becomes.hours)
                turned.append(again and again.model)
    assert None in turned
    assert "resnet18" in turned or "resnet50" in turned
    few = _choose(store, images=900, hours=99.0, prefer="accuracy").recommended
    assert few is not None
    forward = made_up.measurement(few.model).p50
    assert few.hours == pytest.approx(900 * 100 * forward / 3600)
    assert few.hours_guessed


def test_two_names_of_one_network_share_what_was_measured(tmp_path: Path) -> None:
    assert get("efficientnet").fingerprint == get("efficientnet_b0").fingerprint
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    store.add([made_up.measurement("efficientnet"), _step("efficientnet", 50.0)])
    choice = _choose(store, images=36_000, hours=99.0)
    assert choice.recommended is not None
    assert choice.recommended.model == "efficientnet_b0"  # the one that has weights
    assert choice.recommended.hours == pytest.approx(36_000 * 20 / 50 / 3600)


def test_a_command_that_is_typed_settles_what_it_was_proposed_for(tmp_path: Path) -> None:
    """Two that took turns and a third that did not: all three have to."""
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    made = {n: made_up.measurement(n) for n in ("resnet50", "efficientnet_b3", "convnext_tiny")}
    first = made["resnet50"].p50
    for beside, turns, (name, one) in zip((1.0, 1.1, 1.2), "aab", made.items(), strict=True):
        extra = {**one.extra, "turns": turns}
        store.add([replace(one, p50=beside * first, images_per_second=1 / first, extra=extra)])
        made[name] = store.measurements(model=name)[0]
    asked = {"images": 300_000, "latency_ms": 1e3 * first}
    command = next(text for text in _choose(store, **asked).proposals if "--force" in text)
    models = command.removeprefix("vertebra bench ").split(" --")[0].split()
    assert set(models) == set(made)
    at = "2026-06-01T00:00:00+00:00"
    store.add([replace(made[n], measured_at=at, extra={"turns": "c"}) for n in models])
    assert not any("--force" in text for text in _choose(store, **asked).proposals)


def test_a_median_that_was_measured_is_not_told_as_predicted(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    tail = made_up.measurement("resnet50")
    store.add([replace(tail, p99=2 * tail.p50), made_up.measurement("convnext_tiny")])
    notes = _choose(store, images=300_000, percentile="p99", prefer="accuracy").notes
    (note,) = [text for text in notes if "may be the better choice" in text]
    assert "no p99 was measured" in note


def test_of_a_gpu_the_host_s_memory_is_none(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    made = made_up.measurement("resnet50")
    conditions = replace(made.conditions, device="cuda", engine="tensorrt", precision="fp16")
    store.add([replace(made, conditions=conditions)])
    asked = {"images": 20_000, "device": "cuda"}
    winner = _choose(store, **asked).recommended
    assert winner is not None
    assert winner.cost is not None
    assert winner.cost.memory is None
    eager = replace(conditions, engine="eager")
    store.add([replace(made, conditions=eager, p50=1e-3, extra={"host_memory": 1})])
    winner = _choose(store, **asked).recommended
    assert winner is not None
    assert winner.cost is not None
    assert winner.cost.memory == made.memory


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
    choice = _choose(store, **asked)
    assert choice.recommended is not None
    checked = 0
    for flip in choice.flips:
        if flip.field in ("latency_ms", "memory_mb", "file_mb", "throughput"):
            number = float(flip.says.split(" limit of ")[1].split()[0])
            again = _choose(store, **{**asked, flip.field: number}).recommended
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
