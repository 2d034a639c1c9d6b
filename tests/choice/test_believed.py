"""Which measurements a choice believes, and how surely."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from chosen import chosen

import made_up
from vertebra.choice import Requirement, choose
from vertebra.evidence import Evidence
from vertebra.zoo import get


def test_measurements_of_another_machine_are_no_evidence_here(store: Evidence) -> None:
    other = dataclasses.replace(made_up.MACHINE, processor="another")
    choice = choose(Requirement(images=20_000), store, machine=other)
    assert choice.recommended is None
    assert choice.proposals[0].startswith("vertebra bench ")


def test_p99_is_judged_by_p99_and_not_by_another(store: Evidence, tmp_path: Path) -> None:
    without = chosen(store, images=20_000, latency_ms=50.0, percentile="p99")
    assert without.recommended is None
    assert without.nearest == ("no p99 was measured here under these conditions yet",)
    assert {one.model for one, _ in without.why_not} >= set(made_up.MEASURED)
    with_p99 = Evidence(str(tmp_path / "evidence.sqlite"))
    slow_tail = dataclasses.replace(made_up.measurement("resnet18"), p99=0.2)
    with_p99.add([slow_tail])
    assert chosen(with_p99, images=20_000, latency_ms=50.0).recommended is not None
    tail = chosen(with_p99, images=20_000, latency_ms=50.0, percentile="p99")
    assert tail.recommended is None
    assert "latency 200 ms" in tail.nearest[0]


def test_times_that_were_not_taken_in_turn_decide_only_if_they_are_far_apart(
    tmp_path: Path,
) -> None:
    quick = replace(made_up.measurement("resnet50"), extra={"turns": "today"})
    near = made_up.measurement("efficientnet_b3")  # 0.8 points more accurate
    for beside, turns, doubt in ((1.2, "then", True), (1.3, "then", False), (1.2, "today", False)):
        slower = replace(near, p50=beside * quick.p50, extra={"turns": turns})
        store = Evidence(str(tmp_path / f"{beside}{turns}.sqlite"))
        store.add([quick, slower])
        choice = chosen(store, images=300_000, latency_ms=1e3 * quick.p50)
        assert choice.recommended is not None
        assert choice.recommended.model == "resnet50"
        assert any("measure them in turn" in text for text in choice.notes) == doubt
        command = "vertebra bench resnet50 efficientnet_b3 --engine eager --precision fp32 --force"
        assert (command in choice.proposals) == doubt


@pytest.mark.parametrize(
    ("by", "seconds", "doubt"),
    [("numpy", 0.002, True), ("numpy", 0.001, False), ("another", 0.002, False)],
)
def test_times_of_a_machine_at_another_pace_decide_only_beyond_it(
    tmp_path: Path, by: str, seconds: float, doubt: bool
) -> None:
    """1.9 times as long is no slower network where the machine took twice as long for the same."""
    now, then = ({"by": "numpy", "seconds": 0.001}, {"by": by, "seconds": seconds})
    quick = replace(made_up.measurement("resnet50"), extra={"turns": "now", "pace": now})
    better = made_up.measurement("efficientnet_b3")  # 0.8 points more accurate
    better = replace(better, p50=1.9 * quick.p50, extra={"turns": "then", "pace": then})
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    store.add([quick, better])
    choice = chosen(store, images=300_000, latency_ms=1e3 * quick.p50)
    assert choice.recommended is not None
    assert choice.recommended.model == "resnet50"
    said = [text for text in choice.notes if "measure them in turn" in text]
    assert bool(said) == doubt
    assert all("efficientnet_b3" in text and "150 %" in text for text in said)
    # The other way round the winner is the one to measure again.
    alone = chosen(store, images=300_000, exclude=("resnet50",), latency_ms=4e3 * quick.p50)
    assert not any("as slow as" in text for text in alone.notes)
    slow = chosen(store, images=300_000, prefer="accuracy", latency_ms=4e3 * quick.p50)
    assert slow.recommended is not None
    assert slow.recommended.model == "efficientnet_b3"
    assert any("2.0 times as slow as when" in text for text in slow.notes) == doubt


def test_of_two_versions_of_an_engine_the_newest_is_believed(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    old = made_up.measurement("resnet18")
    conditions = dataclasses.replace(old.conditions, engine_version="2.0")
    new = dataclasses.replace(
        old, conditions=conditions, p50=2 * old.p50, measured_at="2026-02-01T00:00:00+00:00"
    )
    store.add([new, old])
    choice = chosen(store, images=20_000)
    assert choice.recommended is not None
    assert choice.recommended.cost is not None
    assert choice.recommended.cost.seconds == new.p50


def test_times_hold_for_the_size_that_was_measured_only(tmp_path: Path) -> None:
    """At twice the size a network does four times the work: predicted, until it is measured."""
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    store.add([made_up.measurement(name) for name in made_up.MEASURED], made_up.MACHINE)
    asked = {"images": 20_000, "engines": ("eager",), "input_size": 448}
    choice = chosen(store, **asked)
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
    assert chosen(store, **asked).recommended is None, "a network of that name, for all we know"
    store.add([replace(large, extra={"catalogue": get("resnet50").fingerprint})])
    choice = chosen(store, **asked)
    assert choice.recommended is not None
    assert choice.recommended.cost is not None
    assert choice.recommended.cost.seconds == 0.5
    assert any("resnet50: 224 pixels), times hold for 448" in text for text in choice.notes)
    small = chosen(store, **{**asked, "input_size": 224}).recommended
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


def test_a_later_measurement_of_fewer_calls_does_not_hide_a_p99(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    made = made_up.measurement("resnet50")
    tail = replace(made, p99=2 * made.p50)
    later = replace(made, p50=1.1 * made.p50, measured_at="2026-03-01T00:00:00+00:00")
    store.add([tail, later])
    for percentile, seconds in (("p99", 2 * made.p50), ("p50", 1.1 * made.p50)):
        winner = chosen(store, images=20_000, percentile=percentile).recommended
        assert winner is not None
        assert winner.cost is not None
        assert winner.cost.seconds == pytest.approx(seconds)


def test_what_was_disturbed_while_it_was_measured_is_said(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    disturbed = ("other processes took 50 % of the cores",)
    store.add([replace(made_up.measurement("resnet50"), warnings=disturbed)])
    assert any(disturbed[0] in text for text in chosen(store, images=20_000).notes)


def test_two_names_of_one_network_share_what_was_measured(tmp_path: Path) -> None:
    assert get("efficientnet").fingerprint == get("efficientnet_b0").fingerprint
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    store.add([made_up.measurement("efficientnet"), made_up.step("efficientnet", 50.0)])
    choice = chosen(store, images=36_000, hours=99.0)
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
    command = next(text for text in chosen(store, **asked).proposals if "--force" in text)
    models = command.removeprefix("vertebra bench ").split(" --")[0].split()
    assert set(models) == set(made)
    at = "2026-06-01T00:00:00+00:00"
    store.add([replace(made[n], measured_at=at, extra={"turns": "c"}) for n in models])
    assert not any("--force" in text for text in chosen(store, **asked).proposals)


def test_a_median_that_was_measured_is_not_told_as_predicted(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    tail = made_up.measurement("resnet50")
    store.add([replace(tail, p99=2 * tail.p50), made_up.measurement("convnext_tiny")])
    notes = chosen(store, images=300_000, percentile="p99", prefer="accuracy").notes
    (note,) = [text for text in notes if "may be the better choice" in text]
    assert "no p99 was measured" in note


def test_of_a_gpu_the_host_s_memory_is_none(tmp_path: Path) -> None:
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    made = made_up.measurement("resnet50")
    conditions = replace(made.conditions, device="cuda", engine="tensorrt", precision="fp16")
    store.add([replace(made, conditions=conditions)])
    asked = {"images": 20_000, "device": "cuda"}
    winner = chosen(store, **asked).recommended
    assert winner is not None
    assert winner.cost is not None
    assert winner.cost.memory is None
    eager = replace(conditions, engine="eager")
    store.add([replace(made, conditions=eager, p50=1e-3, extra={"host_memory": 1})])
    winner = chosen(store, **asked).recommended
    assert winner is not None
    assert winner.cost is not None
    assert winner.cost.memory == made.memory
