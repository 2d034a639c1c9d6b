"""How long ``vertebra choose`` takes to answer from what is in the store, as a whole process.

The store is the user's own, or ``--store``; fill it with ``vertebra bench --suite families``. There
are several questions, since each limit asks what would change the answer. The last line is the
largest of the questions' middle times, in seconds.

    python benchmarks/choose_speed.py [--store URL] [--times 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from vertebra.evidence import Evidence

QUESTIONS = (
    "--images 20000 --classes 100 --latency-ms 30",
    "--images 20000 --classes 100 --latency-ms 12 --memory-mb 200 --file-mb 30 --hours 5",
    "--images 300000 --classes 500 --min-accuracy 0.8 --throughput 20 --must-features",
    "--images 50000 --classes 10 --from-scratch --latency-ms 20",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store")
    parser.add_argument("--times", type=int, default=7)
    arguments = parser.parse_args()
    store = ["--store", arguments.store] if arguments.store else []
    with Evidence(arguments.store) as evidence:
        print(f"{len(evidence.measurements())} measurements in the store")
    middle = []
    for question in QUESTIONS:
        command = [sys.executable, "-m", "vertebra", "choose", *question.split(), *store]
        timed(command)  # reads files from the disk once
        took = [timed(command) for _ in range(arguments.times)]
        print(f"{question}: {', '.join(f'{seconds:.2f}' for seconds in took)}")
        middle.append(statistics.median(took))
    print(f"{max(middle):.2f}")


def timed(command: list[str]) -> float:
    """Seconds of one process."""
    begun = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
