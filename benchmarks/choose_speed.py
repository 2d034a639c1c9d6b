"""How long ``vertebra choose`` takes to answer from what is in the store, as a whole process.

The store is the user's own, or ``--store``; fill it with ``vertebra bench --suite families``. The
last line is the middle of the times, in seconds.

    python benchmarks/choose_speed.py [--store URL] [--times 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from vertebra.evidence import Evidence

ASKED = "choose --images 20000 --classes 100 --latency-ms 30".split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store")
    parser.add_argument("--times", type=int, default=7)
    arguments = parser.parse_args()
    store = ["--store", arguments.store] if arguments.store else []
    command = [sys.executable, "-m", "vertebra", *ASKED, *store]
    subprocess.run(command, capture_output=True, check=True)  # reads files from the disk once
    took = [timed(command) for _ in range(arguments.times)]
    with Evidence(arguments.store) as evidence:
        print(f"{len(evidence.measurements())} measurements in the store")
    print(f"seconds: {', '.join(f'{seconds:.2f}' for seconds in took)}")
    print(f"{statistics.median(took):.2f}")


def timed(command: list[str]) -> float:
    """Seconds of one process."""
    begun = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
