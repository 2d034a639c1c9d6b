"""A run folder belongs to one process at a time, and to none that has died."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vertebra.core import VertebraError
from vertebra.runs import claimed

HOLD = """
import sys
from pathlib import Path
from vertebra.runs import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("end", ["closes", "is killed"])
def test_a_claim_holds_until_its_process_ends(tmp_path: Path, end: str) -> None:
    process = holder(tmp_path)
    with pytest.raises(VertebraError, match="another process"), claimed(tmp_path):
        pass
    if end == "closes":
        process.communicate("")
        assert process.returncode == 0
    else:
        process.kill()
        process.wait()
    with claimed(tmp_path):
        pass


def test_a_forked_child_does_not_inherit_the_claim(tmp_path: Path) -> None:
    """As a data worker that outlives a killed run does not."""
    with claimed(tmp_path):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    process = holder(tmp_path)
    process.kill()
    process.wait()
    os.close(writer)
    os.waitpid(child, 0)


def test_a_process_does_not_claim_twice(tmp_path: Path) -> None:
    with claimed(tmp_path):
        with pytest.raises(VertebraError, match="another"), claimed(tmp_path / "x" / ".."):
            pass
        process = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path)], capture_output=True)
        assert process.returncode != 0, "the second, refused claim must not have freed the first"
    with claimed(tmp_path):
        pass


@pytest.mark.parametrize(("number", "held"), [(13, True), (11, True), (37, False)])
def test_no_locks_to_be_had_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, held: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.lockf", refuse)
    told: list[str] = []
    if held:
        with pytest.raises(VertebraError, match="another"), claimed(tmp_path, told.append):
            pass
    else:
        with claimed(tmp_path, told.append):
            pass
    assert len(told) == (not held)


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VertebraError, match="cannot write"), claimed(tmp_path / "gone"):
        pass
