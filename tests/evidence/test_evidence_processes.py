"""Several processes and one store: every row that was acknowledged is there."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from measured import measured
from writer import started, together

from vertebra.core import VertebraError
from vertebra.evidence import Evidence

WRITERS, EACH = 8, 12


def numbers_in(store: str) -> list[int]:
    """The numbers of the measurements in a store, by their threads."""
    return sorted(one.conditions.threads - 1 for one in Evidence(store).measurements(latest=False))


def journal_mode(file: Path) -> str:
    connection = sqlite3.connect(file)
    mode: str = connection.execute("PRAGMA journal_mode").fetchone()[0]
    connection.close()
    return mode


def test_eight_writers_on_a_fresh_store(store: str) -> None:
    lines = together([started(store, EACH * place, EACH) for place in range(WRITERS)])
    assert [len(some) for some in lines] == [EACH + 1] * WRITERS
    assert numbers_in(store) == list(range(WRITERS * EACH))


def test_eight_writers_of_the_same(store: str) -> None:
    together([started(store, 0, EACH) for _ in range(WRITERS)])
    assert numbers_in(store) == list(range(EACH))


def test_eight_writers_where_there_is_no_wal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network's file system, whose machines share no memory."""

    class Mount(NamedTuple):
        mountpoint: str
        fstype: str

    mounts = [Mount("/", "ext4"), Mount(str(tmp_path), "nfs4")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    file = tmp_path / "evidence.sqlite"
    Evidence(str(file)).add([measured(1000, threads=1001)])
    assert journal_mode(file) == "delete"
    together([started(str(file), EACH * place, EACH) for place in range(WRITERS)])
    assert numbers_in(str(file)) == [*range(WRITERS * EACH), 1000]
    assert [path.name for path in tmp_path.iterdir()] == ["evidence.sqlite"]


def test_a_local_file_lets_readers_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [])
    file = tmp_path / "evidence.sqlite"
    Evidence(str(file)).add([measured(1)])
    assert journal_mode(file) == "wal"
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert Evidence(f"sqlite:///{file}?timeout=0.1").measurements() == [measured(1)]
    writer.close()


@pytest.mark.parametrize("after", [1, 7, 30])
def test_a_killed_writer_leaves_all_that_it_wrote(store: str, after: int) -> None:
    process = started(store, 0, 100_000)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()
    for _ in range(after):
        process.stdout.readline()
    process.kill()
    said = after + len(process.communicate()[0].splitlines())
    # One more may have been written and not been said.
    assert numbers_in(store) in (list(range(said)), list(range(said + 1)))
    assert Evidence(store).add([measured(0, threads=200_000)]) == 1


def test_threads_share_one_store(store: str) -> None:
    evidence = Evidence(store)

    def write(place: int) -> None:
        for number in range(EACH * place, EACH * (place + 1)):
            evidence.add([measured(number, threads=number + 1)])

    threads = [threading.Thread(target=write, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers_in(store) == list(range(4 * EACH))


def test_the_same_rows_in_any_order_at_once(store: str) -> None:
    """Of two transactions that wait for each other's rows a server would end one."""
    some = [measured(number, threads=number + 1) for number in range(400)]
    Evidence(store).add([measured(1000)])
    added: list[int] = []
    start = threading.Barrier(4)

    def write(place: int) -> None:
        start.wait()
        added.append(Evidence(store).add(some[place:] + some[:place]))

    threads = [threading.Thread(target=write, args=(place,)) for place in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(added) == [0, 0, 0, 400]


def test_a_forked_process_goes_on_with_its_parents_store(store: str) -> None:
    evidence = Evidence(store)
    evidence.add([measured(0, threads=1)])
    child = os.fork()
    if child == 0:
        try:
            evidence.add([measured(1, threads=2)])
        finally:
            os._exit(0)
    evidence.add([measured(2, threads=3)])
    os.waitpid(child, 0)
    assert numbers_in(store) == [0, 1, 2]


def test_a_store_that_is_locked_for_too_long(tmp_path: Path) -> None:
    file = tmp_path / "evidence.sqlite"
    Evidence(str(file)).add([measured(1)])
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(VertebraError, match="is locked: another process") as caught:
        Evidence(f"sqlite:///{file}?timeout=0.2").add([measured(2)])
    assert str(file) in str(caught.value)
    assert caught.value.exit_code == 2
    writer.execute("ROLLBACK")
    assert Evidence(str(file)).add([measured(2)]) == 1


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "evidence.sqlite"
    Evidence(str(file)).add([measured(1)])
    writer = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, writer.execute, ("ROLLBACK",))
    release.start()
    assert Evidence(str(file)).add([measured(2)]) == 1
    release.join()
