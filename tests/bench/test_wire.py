"""A child that fails in every way that a child can."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from vertebra.bench.wire import Child, WorkerError
from vertebra.runtime import KEEPS_FP32

BAD = """
import os, signal, sys, time
from vertebra.bench.answering import answer_orders

def obey(order, rest):
    print("a library says hello")
    if order == "echo":
        return rest
    if order == "environment":
        return {"is": os.environ.get(rest["name"])}
    if order == "die":
        print("the last words", file=sys.stderr, flush=True)
        os._exit(7)
    if order == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "hang":
        time.sleep(600)
    raise ValueError("first line\\nsecond line")

answer_orders(obey)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    (tmp_path / "bad_child.py").write_text(BAD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Child("bad_child", threads=1)


def test_what_would_change_the_precision_is_kept_from_it(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    with Child("bad_child", 1) as told, Child("bad_child", 1, KEEPS_FP32) as kept:
        name = "ONEDNN_DEFAULT_FPMATH_MODE"
        assert told.ask("environment", 30, name=name) == {"is": "BF16"}
        assert kept.ask("environment", 30, name=name) == {"is": None}
        # TensorRT would round to TF32 by itself.
        assert kept.ask("environment", 30, name="NVIDIA_TF32_OVERRIDE") == {"is": "0"}


def test_it_answers_and_what_libraries_print_is_no_answer(child: Child) -> None:
    with child:
        assert child.ask("echo", 30, value=[1, 2.5]) == {"value": [1, 2.5]}
        assert child.ask("echo", 30) == {}


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ("raise", "ValueError: first line$"),
        ("die", "ended with 7: the last words"),
        ("killed", "want of memory"),
        ("hang", "no answer within 1 s"),
    ],
)
def test_its_end_is_told_in_words(child: Child, order: str, says: str) -> None:
    with child, pytest.raises(WorkerError, match=says):
        child.ask(order, 1 if order == "hang" else 30)
    assert not psutil.pid_exists(child.pid) or psutil.Process(child.pid).status() == "zombie"


def test_after_its_end_it_is_told_again_and_not_waited_for(child: Child) -> None:
    with child:
        for _ in range(2):
            with pytest.raises(WorkerError, match="ended with 7"):
                child.ask("die", 30)


def test_none_outlives_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad_child.py").write_text(BAD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told, ready = os.pipe()
    parent = os.fork()
    if parent == 0:
        child = Child("bad_child", threads=1)
        child.ask("echo", 30)
        os.write(ready, str(child.pid).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    pid = int(os.read(told, 32))
    until = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie":
        assert time.monotonic() < until
        time.sleep(0.05)
