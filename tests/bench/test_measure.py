"""Measuring for real: small networks in every engine that is installed, each in its own process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from vertebra.bench import cells, grouping, measure, run
from vertebra.bench.compare import compare
from vertebra.bench.measuring import _lacks
from vertebra.core import VertebraError
from vertebra.evidence import Evidence
from vertebra.machine import describe
from vertebra.runtime import version
from vertebra.zoo import get

ENGINES = ("eager", "onnxruntime", "openvino")


@pytest.fixture(autouse=True)
def _any_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested here holds on a busy machine as well."""
    monkeypatch.setattr("vertebra.bench.measuring.WORST_FLOOR", 1e9)
    monkeypatch.setattr("vertebra.bench.pace._SLOWER", 1e9)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return Evidence(str(tmp_path_factory.mktemp("bench") / "evidence.sqlite"))


def test_every_engine_is_measured_once_and_known_afterwards(store: Evidence) -> None:
    found = measure(["resnet20"], ENGINES, threads=1, evidence=store)
    assert [m.conditions.engine for m in found] == list(ENGINES)
    here, entry = describe(), get("resnet20")
    for m in found:
        assert m.conditions.fingerprint == entry.fingerprint
        assert m.conditions.input_shape == (1, *entry.input_size)
        assert m.conditions.machine == here.fingerprint
        assert m.conditions.engine_version == version(m.conditions.engine)
        assert m.conditions.precision == "fp32"
        assert m.interval[0] <= m.p50 <= m.interval[1]
        assert m.p50 <= m.p90
        assert len(m.samples) >= 64
        assert (m.p99 is None) == (len(m.samples) < 662)
        assert m.parity is not None
        assert m.parity < 1e-3
        # Four bytes a parameter; the files also hold the graph.
        assert 4 * entry.params <= m.file < 4 * entry.params + 500_000
        assert m.images_per_second == pytest.approx(len(m.samples) / sum(m.samples))
    by_engine = {m.conditions.engine: m for m in found}
    # PyTorch's libraries alone take more than a whole process of ONNX Runtime's.
    assert by_engine["onnxruntime"].memory < by_engine["eager"].memory
    again = measure(["resnet20"], ENGINES, threads=1, evidence=store)
    assert [m.measured_at for m in again] == [m.measured_at for m in found]
    assert [m.samples for m in again] == [m.samples for m in found]


def test_force_measures_again_and_two_benches_can_be_compared(store: Evidence) -> None:
    first = measure(["resnet20"], ["onnxruntime"], threads=1, evidence=store)
    second = measure(["resnet20"], ["onnxruntime"], threads=1, evidence=store, force=True)
    assert second[0].samples != first[0].samples
    assert second[0].conditions.key == first[0].conditions.key
    both, lonely = compare(first, second)
    assert len(both) == 1
    assert not lonely
    # Half as long again in every call is found as that, and as a difference.
    samples = tuple(1.5 * seconds for seconds in first[0].samples)
    (slower,), _ = compare(first, [replace(first[0], samples=samples, extra={"rounds": 16})])
    assert slower.ratio.value == pytest.approx(1.5)
    assert slower.ratio.differs or slower.ratio.floor > 0.5


def test_another_question_is_measured_by_itself(store: Evidence) -> None:
    known = cells(["resnet20"], ["onnxruntime"], threads=1)
    for other in (
        cells(["resnet20"], ["onnxruntime"], threads=2),
        cells(["resnet20"], ["onnxruntime"], batches=[2], threads=1),
        cells(["resnet20"], ["onnxruntime"], threads=1, image_size=48),
        cells(["resnet20"], ["onnxruntime"], ["int8"], threads=1),
        cells(["resnet20"], ["onnxruntime"], threads=1, workload="offline"),
        cells(["resnet32"], ["onnxruntime"], threads=1),
        cells(["resnet20"], ["onnxruntime"], threads=1, workload="server", rate=5),
    ):
        here = describe()
        assert other[0].conditions(here).key != known[0].conditions(here).key


def test_int8_on_random_images_is_marked_and_other_workloads_run(store: Evidence) -> None:
    int8 = measure(["resnet20"], ["onnxruntime"], ["int8"], threads=1, evidence=store)[0]
    assert int8.cost_only
    assert int8.conditions.precision == "int8"
    assert int8.file < 0.5 * 4 * get("resnet20").params + 200_000
    served = measure(
        ["resnet20"], ["onnxruntime"], threads=1, evidence=store, workload="server", rate=100.0
    )[0]
    assert served.conditions.options["rate"] == "100"
    assert 0 < served.extra["busy"] < 1
    assert len(served.samples) >= 500  # five seconds of them
    # As many as come, however fast it is.
    assert served.images_per_second == pytest.approx(100, rel=0.4)
    step = measure(["resnet20"], threads=1, batches=[4], evidence=store, workload="train")[0]
    forward = measure(["resnet20"], threads=1, batches=[4], evidence=store)[0]
    assert step.parity is None
    assert step.p50 > 1.5 * forward.p50


def test_offline_several_calls_are_under_way_where_the_engine_can(
    store: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two streams of a thread each answer more than one stream of two threads."""
    monkeypatch.setattr("vertebra.bench.workloads._AT_ONCE_SECONDS", 0.1)
    by_workload = {
        workload: measure(
            ["resnet20"], ["openvino", "onnxruntime"], evidence=store, workload=workload
        )
        for workload in ("stream", "offline")
    }
    openvino, onnxruntime = by_workload["offline"]
    assert openvino.conditions.options["hint"] == "throughput"
    assert by_workload["stream"][0].conditions.options["hint"] == "latency"
    assert openvino.images_per_second > 0.9 * by_workload["stream"][0].images_per_second
    assert openvino.extra["turns"] == onnxruntime.extra["turns"]
    for m in (openvino, onnxruntime):
        assert m.images_per_second == pytest.approx(1 / m.p50, rel=0.3)
        # Of each call its share of a turn.
        assert len(set(m.samples)) <= m.extra["rounds"]
        assert len(m.samples) >= 64


def test_layers_are_told_by_each_engine_s_own_profiler(store: Evidence) -> None:
    wanted = cells(["resnet20"], ENGINES, threads=1)
    outcome = run(wanted, store, by_layer=True)
    for m in [*outcome.known, *outcome.measurements]:
        layers = m.extra["layers"]
        assert len(layers) >= 20
        assert all(layer["seconds"] >= 0 for layer in layers)


def test_what_cannot_be_had_is_told_and_the_rest_is_measured(store: Evidence) -> None:
    wanted = cells(
        ["resnet20"], ["eager", "onnxruntime", "cudagraphs"], ["int8", "fp32"], threads=1
    )
    outcome = run(wanted, store)
    told = {str(cell): why for cell, why in outcome.unavailable}
    assert len(told) == 3
    assert "quantised" in told["resnet20 eager int8 x1"]
    assert "GPU" in told["resnet20 cudagraphs fp32 x1"]
    assert len(outcome.known) + len(outcome.measurements) == 3


def test_a_network_that_fails_leaves_the_others_alone(
    store: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_nets.py").write_text(
        "import torch\n"
        "class Bad(torch.nn.Module):\n"
        "    input_size = (3, 8, 8)\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, x):\n"
        "        if x.device.type != 'meta' and not torch.is_grad_enabled():\n"
        "            raise RuntimeError('it went wrong')\n"
        "        return self.conv(x).mean((2, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    outcome = run(cells(["own_nets:Bad", "resnet20"], threads=1), store)
    assert [str(cell) for cell, _ in outcome.unavailable] == ["own_nets:Bad eager fp32 x1"]
    assert "it went wrong" in outcome.unavailable[0][1]
    assert len(outcome.known) + len(outcome.measurements) == 1


def test_a_noisy_machine_passes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vertebra.bench.measuring.WORST_FLOOR", 1e-9)
    monkeypatch.setattr("vertebra.bench.measuring._TRIES_OF_ROUNDS", (16,))
    store = Evidence(str(tmp_path / "evidence.sqlite"))
    with pytest.raises(VertebraError, match="unmeasurable now") as error:
        measure(["resnet20"], ["onnxruntime"], threads=1, evidence=store)
    assert error.value.exit_code == 1
    assert store.measurements() == []


def test_a_bench_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """Each group is kept as soon as it is done."""
    place = tmp_path / "evidence.sqlite"
    program = (
        "from vertebra.bench import cells, run, measure as m\n"
        "from vertebra.bench import grouping, measuring, pace\n"
        "from vertebra.evidence import Evidence\n"
        "measuring.WORST_FLOOR, pace._SLOWER, grouping._TOGETHER = 1e9, 1e9, 1\n"
        f"store = Evidence({str(place)!r})\n"
        "names = ['resnet20', 'plain20', 'resnet32']\n"
        "run(cells(names, ['onnxruntime'], threads=1), store, tell=print)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (place.exists() and Evidence(str(place)).measurements()):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {m.model: m.measured_at for m in Evidence(str(place)).measurements()}
    assert 1 <= len(kept) < 3
    store = Evidence(str(place))
    found = measure(
        ["resnet20", "plain20", "resnet32"],
        ["onnxruntime"],
        threads=1,
        evidence=store,
    )
    assert {m.model for m in found} == {"resnet20", "plain20", "resnet32"}
    assert all(m.measured_at == kept[m.model] for m in found if m.model in kept)


def test_a_worker_loads_nothing_that_its_engine_does_not_need() -> None:
    program = (
        "import sys, vertebra.bench.worker\n"
        "heavy = {'torch', 'sqlalchemy', 'scipy', 'sklearn', 'matplotlib', 'onnxruntime'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"engines": ["openvno"]}, "did you mean openvino"),
        ({"precisions": ["fp23"]}, "did you mean fp32"),
        ({"batches": [0]}, "at least one image"),
        ({"threads": 0}, "at least 1"),
        ({"workload": "sever"}, "did you mean server"),
        ({"workload": "server"}, "--rate"),
        ({"rate": 5.0}, "--rate"),
        ({"workload": "server", "rate": -1.0}, "above 0"),
        ({"layouts": ["channels_first"]}, "layout"),
        ({"engines": ["openvino"], "layouts": ["channels_last"]}, "layout"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_once(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(VertebraError, match=says):
        cells(["resnet20"], **arguments)
    with pytest.raises(VertebraError, match="did you mean resnet20"):
        cells(["resnet2O"])


def test_one_that_dies_in_its_turn_leaves_the_others_alone(
    store: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mortal_nets.py").write_text(
        "import os, torch\n"
        "class Mortal(torch.nn.Module):\n"
        "    input_size = (3, 8, 8)\n"
        "    calls = 0\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, x):\n"
        "        Mortal.calls += 1\n"
        "        if Mortal.calls > 300:\n"
        "            os._exit(9)\n"
        "        return self.conv(x).mean((2, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    outcome = run(cells(["mortal_nets:Mortal", "resnet20"], threads=1), store, force=True)
    assert [str(cell) for cell, _ in outcome.unavailable] == ["mortal_nets:Mortal eager fp32 x1"]
    assert "ended with 9" in outcome.unavailable[0][1]
    assert [m.model for m in outcome.measurements] == ["resnet20"]


def test_a_disturbed_group_is_measured_again_and_says_so_if_it_still_is(
    store: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbed = iter([("others took 50 %",), (), ("a",), ("b",), ("c",)])
    monkeypatch.setattr("vertebra.bench.disturbance.warnings", lambda _a, _b: next(disturbed))
    monkeypatch.setattr("vertebra.bench.disturbance.now", lambda: ())
    wanted, told = cells(["resnet20"], ["onnxruntime"], threads=1), list[str]()
    calm = run(wanted, store, force=True, tell=told.append)
    assert calm.measurements[0].warnings == ()
    assert "disturbed: others took 50 %" in told
    assert sum(text.startswith("noise floor") for text in told) == 2
    loud = run(wanted, store, force=True)
    assert loud.measurements[0].warnings == ("c",)
    # Else a suite on a busy machine would begin at its beginning each time.
    told.clear()
    again = run(wanted, store, tell=told.append)
    assert [m.measured_at for m in again.known] == [loud.measurements[0].measured_at]
    assert "1 known already, 0 to measure; 1 were disturbed, --force measures again" in told
    old = replace(loud.measurements[0], measured_at="2026-01-01T00:00:00+00:00")
    assert _lacks(old, 64, by_layer=False)
    assert not _lacks(replace(old, warnings=()), 64, by_layer=False)


def test_what_was_measured_before_the_noise_rose_is_kept(
    store: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vertebra.bench.disturbance.warnings", lambda _a, _b: ("others",))
    monkeypatch.setattr("vertebra.bench.disturbance.now", lambda: ())
    noise = iter((0.01, 2.0))
    monkeypatch.setattr("vertebra.bench.measuring.WORST_FLOOR", 0.05)
    monkeypatch.setattr("vertebra.bench.measuring.Floor.of", lambda _self, _group: next(noise))
    outcome = run(cells(["resnet20"], ["onnxruntime"], threads=1), store, force=True)
    assert [m.warnings for m in outcome.measurements] == [("others",)]
    assert not outcome.unmeasurable


def test_what_the_store_does_not_take_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERTEBRA_HOME", str(tmp_path / "home"))
    place = tmp_path / "folder"
    place.mkdir()
    store = Evidence(str(place / "evidence.sqlite"))
    assert store.measurements() == []

    def full(*_: object) -> int:
        raise VertebraError("the disk is full")

    monkeypatch.setattr(Evidence, "add", full)
    with pytest.raises(VertebraError, match=r"the disk is full; .* evidence import") as error:
        measure(["resnet20"], ["onnxruntime"], threads=1, evidence=store)
    path = Path(str(error.value).rpartition(" ")[2])
    assert store.import_(json.loads(path.read_text())) == (1, 0)
    assert [m.model for m in store.measurements()] == ["resnet20"]


def test_memory_that_training_and_batches_take_is_counted() -> None:
    """ResNet-18's step of 32 images in bf16 takes 1.5 GB (docs/benchmarks.md), one image 0.7."""
    (one,), (step,) = cells(["resnet18"]), cells(["resnet18"], batches=[32], workload="train")
    assert grouping._need(one) < 1.0e9
    assert 1.5e9 < grouping._need(step) < 3e9
    (large,) = cells(["resnet50"], batches=[64])
    assert grouping._need(large) > 2 * grouping._need(cells(["resnet50"])[0])


@pytest.mark.parametrize("more", [0, 1])
def test_more_threads_than_cores_are_told(
    store: Evidence, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    monkeypatch.setattr("vertebra.bench.measuring.groups", lambda _cells: ())  # nothing is measured
    cores, told = describe().cores, list[str]()
    run(cells(["lenet5"], threads=cores + more), store, force=True, tell=told.append)
    says = f"warning: {cores + 1} threads share {cores} cores"
    assert (says in told) == bool(more)
