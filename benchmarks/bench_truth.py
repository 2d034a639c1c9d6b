"""Whether ``vertebra bench`` tells the truth: beside each engine's own tool and beside itself.

Three questions. (1) Our median of a network in an engine beside that engine's own tool: OpenVINO's
benchmark_app, a plain loop around onnxruntime, torch.utils.benchmark; several processes of each,
since where memory lies is luck that a process keeps, all asked in turn; with a 99 % interval.
(2) How often two processes of the same subject are called different, of 100 pairs: at most 4 by
chance at 99 %. (3) How often one that takes 5 % longer is found, of 100 pairs: at least 80. Every
pair is of new processes with the noise floor of one more, in as many rounds as a bench would take
for that floor, or in as many as ``--turns`` says. The last line has the largest deviation of (1).

    python benchmarks/bench_truth.py [--models resnet50,efficientnet_b0] [--processes 8]
        [--tries 100] [--turns 64] [--pair resnet18] [--engine onnxruntime]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from vertebra.bench.group import Group
from vertebra.bench.measuring import WORST_FLOOR, Floor
from vertebra.bench.pace import Pace, paced
from vertebra.bench.plan import Cell, cells
from vertebra.bench.statistics import noise_floor, paired_ratio, signed_rank
from vertebra.bench.workloads import ROUNDS, Member, take_turns

CALLS = 64
# Turns that each process has in (1), and seconds of one of theirs.
TURNS, SECONDS = 8, 0.3
ENGINES = (
    ("eager", "fp32"),
    ("eager", "bf16"),
    ("compile", "fp32"),
    ("onnxruntime", "fp32"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
)
SLOWER = 1.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="resnet50,efficientnet_b0")
    parser.add_argument("--processes", type=int, default=8, help="of ours and theirs each, in (1)")
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--turns", type=int, help="of each of (2) and (3), not as a bench takes")
    parser.add_argument("--pair", default="resnet18", help="the network of (2) and (3)")
    parser.add_argument("--engine", default="onnxruntime", help="the engine of (2) and (3)")
    arguments = parser.parse_args()
    deviations: list[float] = []
    for model in filter(None, arguments.models.split(",")):
        for engine, precision in ENGINES:
            deviations.append(beside_its_own_tool(model, engine, precision, arguments.processes))
    if arguments.tries:
        cell = cells([arguments.pair], [arguments.engine])[0]
        same, slow = pairs(cell, arguments.tries, arguments.turns)
        print(f"the same beside itself: {same} of {arguments.tries} called different (at most 4 %)")
        print(f"5 % slower: {slow} of {arguments.tries} found (at least 80 %)")
    if deviations:
        print(f"largest deviation from an engine's own tool: {100 * max(deviations):.1f} %")


def beside_its_own_tool(model: str, engine: str, precision: str, processes: int) -> float:
    """Ours and theirs, so many processes of each, all alive and asked in turn; the deviation of
    their medians, infinite where it does not run.
    """
    cell = cells([model], [engine], [precision])[0]
    group = Group([cell] * processes, CALLS)
    with contextlib.ExitStack() as stack:
        stack.enter_context(group.opened())
        if len(group.members) < processes:
            print(f"{cell}: {group.failed[0][1]}")
            return math.inf
        tools = [
            stack.enter_context(TOOLS[engine](cell, one.loaded["spec"])) for one in group.members
        ]
        pace = stack.enter_context(paced(cell.setup.thread_count))
        taken: list[list[tuple[float, float]]] = [[] for _ in tools]
        for turn in range(TURNS):
            for place in range(processes) if turn % 2 == 0 else reversed(range(processes)):
                if tools[place].lives or (turn + place) % 2 == 0:
                    member, tool = group.members[place], tools[place]
                    taken[place].append(_in_turn(member, tool, turn % 4 < 2, pace))
    return _told(cell, taken)


def _in_turn(member: Member, tool: Tool, ours_first: bool, pace: Pace) -> tuple[float, float]:
    """The medians of a turn of ours and of theirs, one right after the other; again where the
    machine lost its pace in between.
    """
    while True:
        pace.wait()
        begun = time.monotonic()
        theirs = math.nan if ours_first else tool.median()
        take_turns([member], CALLS // ROUNDS, 1)
        ours = statistics.median(member.samples)
        theirs = tool.median() if ours_first else theirs
        if pace.held(begun):
            return ours, theirs


def _told(cell: Cell, pairs: Sequence[Sequence[tuple[float, float]]]) -> float:
    """The deviation, each process of ours beside one of theirs turn by turn, after it was told."""
    found = signed_rank([statistics.median(math.log(a / b) for a, b in some) for some in pairs])
    value, low, high = (math.expm1(x) for x in (found.value, found.low, found.high))
    verdict = "within 5 %" if abs(value) <= 0.05 else "beyond 5 %"
    verdict += ", inside the noise" if low <= 0 <= high else ""
    ours, theirs = (
        statistics.median(statistics.median(turn[side] for turn in some) for some in pairs)
        for side in (0, 1)
    )
    print(
        f"{cell!s:<36} ours {1e3 * ours:7.2f} ms, its own tool {1e3 * theirs:7.2f} ms, "
        f"{100 * value:+5.1f} % ({100 * low:+.1f} to {100 * high:+.1f}): {verdict}",
        flush=True,
    )
    return abs(value)


class Tool(Protocol):
    """An engine's own way to time a network; ``lives``: in one process all the time."""

    lives: bool

    def median(self) -> float:
        """Of a turn, in seconds."""

    def __enter__(self) -> Self:
        """Start it."""

    def __exit__(self, *of_an_error: object) -> None:
        """End it."""


class BenchmarkApp:
    """OpenVINO's benchmark_app, one synchronous stream.

    It is begun anew for each turn, which takes seconds, and so asked in every other one.
    """

    lives = False

    def __init__(self, cell: Cell, spec: Mapping[str, str]) -> None:
        precision = {"fp32": "f32", "bf16": "bf16"}[cell.setup.precision]
        self._words = ["-m", f"{spec['artifact']}/model.xml", "-api", "sync", "-t", "1"]
        self._words += ["-hint", "none", "-nstreams", "1", "-infer_precision", precision]
        self._words += ["-nthreads", str(cell.setup.thread_count)]

    def median(self) -> float:
        """See :class:`Tool`."""
        with tempfile.TemporaryDirectory() as folder:
            words = ["-report_type", "no_counters", "-report_folder", folder, "-json_stats"]
            program = "from openvino.tools.benchmark.main import main; main()"
            command = [sys.executable, "-c", program, *self._words, *words]
            subprocess.run(command, check=True, capture_output=True)
            report = json.loads(next(Path(folder).glob("*.json")).read_text())
        return float(report["execution_results"]["latency (ms)"]) / 1e3

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *of_an_error: object) -> None:
        pass


class Script:
    """A process that sets up and then times a turn for each line that it reads."""

    lives = True

    def __init__(self, setup: str, turn: str) -> None:
        lines = ["import sys", *setup.splitlines(), "print('ready', flush=True)"]
        lines += ["for _ in sys.stdin:", f"    print({turn}, flush=True)"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", "\n".join(lines)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def median(self) -> float:
        """See :class:`Tool`."""
        print("turn", file=self._process.stdin, flush=True)
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def __enter__(self) -> Self:
        if self._line().strip() != "ready":
            raise SystemExit("an engine's own tool did not start")
        return self

    def __exit__(self, *of_an_error: object) -> None:
        self._process.kill()


def of_onnxruntime(cell: Cell, spec: Mapping[str, str]) -> Script:
    """A plain loop around onnxruntime."""
    setup = f"""
import numpy, onnxruntime, statistics, time
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {cell.setup.thread_count}
session = onnxruntime.InferenceSession(
    {spec["artifact"] + "/model.onnx"!r}, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
images = numpy.random.default_rng(0).normal(size={cell.input_shape}).astype("float32")
def call():
    begun = time.perf_counter()
    session.run(None, {{name: images}})
    return time.perf_counter() - begun
def turn():
    until = time.perf_counter() + {SECONDS}
    samples = [call()]
    while time.perf_counter() < until:
        samples.append(call())
    return statistics.median(samples)
for _ in range(10):
    call()
"""
    return Script(setup, "turn()")


def of_pytorch(cell: Cell, _spec: Mapping[str, str]) -> Script:
    """torch.utils.benchmark, in a process that keeps freed memory, as ours do."""
    precision = {"fp32": "float32", "bf16": "bfloat16"}[cell.setup.precision]
    wrap = "torch.compile(net)" if cell.setup.engine == "compile" else "net"
    setup = f"""
import torch
from torch.utils import benchmark
import vertebra as vb
vb.machine.keep_freed_memory()
threads = {cell.setup.thread_count}
torch.set_num_threads(threads)
net = vb.zoo.create({cell.target!r}, seed=0).eval().to(torch.{precision})
call = {wrap}
images = torch.randn({cell.input_shape}, dtype=torch.{precision})
mode = torch.inference_mode()  # which ends with this object
mode.__enter__()
for _ in range(10):
    call(images)
timer = benchmark.Timer("call(images)", globals=globals(), num_threads=threads)
"""
    return Script(setup, f"timer.blocked_autorange(min_run_time={SECONDS}).median")


TOOLS: dict[str, Callable[[Cell, Mapping[str, str]], Tool]] = {
    "eager": of_pytorch,
    "compile": of_pytorch,
    "onnxruntime": of_onnxruntime,
    "openvino": BenchmarkApp,
}


def pairs(cell: Cell, tries: int, turns: int | None) -> tuple[int, int]:
    """How many of so many pairs of processes are called different, and how many are called slower
    of those whose second one takes 5 % longer. All three take turns, as in a bench; where a bench
    would refuse to measure, nothing is called anything.
    """
    # Where the worker finds slowed_worker.
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    same = slower = refused = 0
    rounds: Counter[int] = Counter()
    with paced(cell.setup.thread_count) as pace:
        for index in range(tries):
            group = Group([cell] * 3, CALLS, worker="slowed_worker", pace=pace)
            with group.opened():
                floor = _floor(group, turns)
                rounds[group.rounds] += 1
                if floor > WORST_FLOOR:
                    refused += 1
                else:
                    pace.begin()
                    first, second, slow = group.members
                    slow.child.ask("slow_down", 60, factor=SLOWER)
                    take_turns(group.members, CALLS, group.rounds, pace)
                    same += paired_ratio(second.samples, first.samples, group.rounds, floor).differs
                    found = paired_ratio(slow.samples, first.samples, group.rounds, floor)
                    slower += found.differs and found.value > 1
            if index % 10 == 9:
                _tell_pairs(index + 1, rounds, same, slower, refused)
    return same, slower


def _tell_pairs(tried: int, rounds: Counter[int], same: int, slower: int, refused: int) -> None:
    taken = ", ".join(f"{many} in {some} rounds" for some, many in sorted(rounds.items()))
    print(f"{tried} pairs ({taken}): {same} the same called different, {slower} slower")
    print(f"    found, {refused} with a floor above 5 %, which a bench refuses", flush=True)


def _floor(group: Group, turns: int | None) -> float:
    """The noise floor as a bench finds it, or in so many rounds."""
    if turns is None:
        floor = Floor(lambda _text: None).of(group)
    else:
        group.rounds = turns
        ratio = group.twin_ratio()
        floor = None if ratio is None else noise_floor(ratio)
    if floor is None or len(group.members) != 3:
        raise SystemExit(f"{group.failed[0][0]}: {group.failed[0][1]}")
    return floor


if __name__ == "__main__":
    main()
