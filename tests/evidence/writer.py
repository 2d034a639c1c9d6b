"""A process that writes evidence: ``writer.py STORE FIRST COUNT MANNER``.

It says "ready", waits for a line, and says "N" after each call of ``add`` that came back. As
"stubborn" it repeats a refused call; it ends its output by "refused N", the number of these.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from measured import measured

from vertebra.core import VertebraError
from vertebra.evidence import Evidence


def started(store: str, first: int, count: int, manner: str = "") -> subprocess.Popen[str]:
    """Such a process, ready to write ``count`` measurements from number ``first`` on."""
    command = [sys.executable, str(Path(__file__)), store, str(first), str(count), manner]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def together(processes: list[subprocess.Popen[str]]) -> list[list[str]]:
    """Let all begin at once; the lines that each has written when all are done."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    lines = [process.communicate(timeout=300)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return lines


def _write(store: str, first: int, count: int, stubborn: bool) -> None:
    evidence = Evidence(store)
    print("ready", flush=True)
    sys.stdin.readline()
    refused = 0
    for number in range(first, first + count):
        while True:
            try:
                evidence.add([measured(number, threads=number + 1)])
                break
            except VertebraError as error:
                if not stubborn or "damaged" not in str(error):
                    raise
                refused += 1
        print(number, flush=True)
    print(f"refused {refused}")


if __name__ == "__main__":
    _write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "stubborn")
