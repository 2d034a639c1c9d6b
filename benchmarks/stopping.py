"""How long a run takes to stop after Ctrl-C in the middle of an epoch, its checkpoint written.

From the signal to the end of the process, the interpreter's own end included; at most two seconds
is what is promised on a machine that does nothing else.

    python benchmarks/stopping.py [--tries 5]
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time

COMMAND = ("train", "digits", "--model", "resnet20", "--epochs", "3", "--out", "run")


def seconds_to_stop() -> float:
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "vertebra", *COMMAND],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch   1"):
                break
        time.sleep(0.15)
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 130
        return time.monotonic() - asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=5)
    tries = [seconds_to_stop() for _ in range(parser.parse_args().tries)]
    print("seconds: " + ", ".join(f"{one:.2f}" for one in tries))
    print(f"median: {statistics.median(tries):.2f} s from Ctrl-C to the end (at most 2)")


if __name__ == "__main__":
    main()
