"""What a process that only runs a file holds and uses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from living import SHAPE, Artifacts
from torch import nn

from vertebra.machine import usable_cores
from vertebra.runtime import Setup, make


def _run(code: str, *arguments: str) -> str:
    environment = {key: text for key, text in os.environ.items() if "TELEMETRY" not in key}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


LOAD = """
import os, sys
from pathlib import Path
from vertebra.runtime import Setup, import_engine, load
engine, threads, folder = sys.argv[1:]
setup = Setup(engine, threads=int(threads))
import_engine(setup)
import numpy as np
if engine == "eager":
    import torch
    what = torch.load(Path(folder) / "net.pt", weights_only=False)
else:
    what = Path(folder)
session = load(what, setup, (2, 3, 32, 32))
prepared = session.prepare(np.zeros((2, 3, 32, 32), np.float32))
session.run(prepared)
"""

HOLDS = """
assert "torch" not in sys.modules
assert "onnx" not in sys.modules
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
assert not hasattr(sys.modules["openvino_telemetry"], "Telemetry")
assert session.numpy(session.run(prepared)).shape == (2, 10)
print(session.layers(prepared, rounds=1)[0].precision, session.precision)
"""

# Threads of the process that were busy while it ran for a second.
BUSY = """
import time
import psutil
process = psutil.Process()
def spent():
    return {t.id: t.user_time + t.system_time for t in process.threads()}
before, end = spent(), time.perf_counter() + 1
while time.perf_counter() < end:
    session.run(prepared)
print(sum(time - before.get(thread, 0) > 0.03 for thread, time in spent().items()))
"""


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_file_runs_without_pytorch_and_tells_nobody(engine: str, artifacts: Artifacts) -> None:
    folder = artifacts[engine, "fp32"].folder
    assert _run(LOAD + HOLDS, engine, "1", str(folder)) == "fp32 fp32\n"


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose layers are worth dividing, for each engine in a folder of its name."""
    folder = tmp_path_factory.mktemp("wide")
    net = nn.Sequential(nn.Conv2d(3, 256, 3), nn.ReLU(), nn.Conv2d(256, 256, 3), nn.Flatten())
    for engine in ("onnxruntime", "openvino"):
        make(net, SHAPE, Setup(engine), folder / engine)
    (folder / "eager").mkdir()
    torch.save(net, folder / "eager/net.pt")
    return folder


@pytest.mark.parametrize("engine", ["eager", "onnxruntime", "openvino"])
@pytest.mark.parametrize("threads", [1, 2])
def test_as_many_threads_work_as_asked(engine: str, threads: int, wide: Path) -> None:
    if threads > usable_cores():
        pytest.skip(f"needs {threads} cores")
    assert int(_run(LOAD + BUSY, engine, str(threads), str(wide / engine))) == threads
