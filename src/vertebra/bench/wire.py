"""The parent's end of the pipe to a process of ours; see :mod:`.answering` for the other."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vertebra.core import VertebraError


class WorkerError(VertebraError):
    """What a worker was asked did not work out; the others go on."""


class Child:
    """A process of ours that answers lines of JSON. Use it as a context: it never outlives it.

    Args:
        module: that it runs.
        threads: of OpenMP.
        told: of its environment, by name; None takes one away.
    """

    def __init__(
        self, module: str, threads: int, told: Mapping[str, str | None] | None = None
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vertebra-worker-")
        self._noise = Path(self._folder.name, "stderr")
        # OpenMP reads these once, when it is loaded.
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        for name, value in (told or {}).items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        with self._noise.open("wb") as noise:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=noise,
                env=environment,
                # Ctrl-C is the parent's to answer: it lets the workers go itself.
                start_new_session=True,
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:  # never: both are pipes
            raise WorkerError("it has no pipes")
        self._stdin, self._stdout = stdin, stdout

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, order: str, timeout: float, **rest: Any) -> dict[str, Any]:
        """The answer to an order.

        Raises:
            WorkerError: the process says so, has died, or takes longer than ``timeout`` seconds.
        """
        try:
            self._stdin.write(json.dumps({"order": order, **rest}).encode() + b"\n")
            self._stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        line = self._line(timeout)
        if not line.endswith(b"\n"):  # it died, be it in the middle of its answer
            raise WorkerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _line(self, timeout: float) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            if not selector.select(timeout):
                self.kill()
                raise WorkerError(f"no answer within {timeout:.0f} s")
        return self._stdout.readline()

    def _last_words(self) -> str:
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return "its process was killed, probably for want of memory"
        lines = self._noise.read_text(errors="replace").strip().splitlines()
        return f"its process ended with {code}: {lines[-1][:300] if lines else 'without a word'}"

    def kill(self) -> None:
        """End the process at once; harmless where it has ended."""
        if self._process.poll() is None:
            # Its whole session: a compiler that it started would go on.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._folder.cleanup()
        self._stdout.close()
        # What was still in the buffer has no reader any more.
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
