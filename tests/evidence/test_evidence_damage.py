"""A damaged store is kept to the byte under another name, and only a damaged one."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from measured import measured
from writer import started, together

from vertebra.core import VertebraError
from vertebra.evidence import Evidence, damage, sqlite

SOME = [measured(number, threads=number % 20) for number in range(60)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store of sixty measurements, closed."""
    file = tmp_path / "evidence.sqlite"
    Evidence(str(file)).add(SOME)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    return file


def kept_in(folder: Path) -> list[Path]:
    """The stores that were set aside, without what lies beside them."""
    there = [path for path in folder.iterdir() if ".damaged-" in path.name]
    return sorted(path for path in there if not path.name.endswith(("-wal", "-shm")))


def assert_kept_aside(file: Path, use: Callable[[Evidence], object]) -> str:
    """``use`` is refused, the bytes are kept, and what comes next begins a new store; the error."""
    before = file.read_bytes()
    with pytest.raises(VertebraError) as caught:
        use(Evidence(str(file)))
    assert caught.value.exit_code == 2
    (kept,) = kept_in(file.parent)
    assert kept.read_bytes() == before
    assert not file.exists()
    assert str(kept) in str(caught.value)
    assert "the next call begins a new one" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert Evidence(str(file)).measurements() == []
    assert Evidence(str(file)).add([measured(1)]) == 1
    assert kept.read_bytes() == before
    return str(caught.value)


def _read(evidence: Evidence) -> object:
    return evidence.measurements()


def _add(evidence: Evidence) -> object:
    return evidence.add([measured(100)])


@pytest.mark.parametrize("use", [_read, _add, Evidence.machines, Evidence.export])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda old: b"{}\n" * 5000, "not a database"),
        (lambda old: bytes(len(old)), "not a database"),
        (lambda old: b"SQLite format 4\0" + old[16:], "not a database"),
        (lambda old: old[:1000], "malformed"),
        (lambda old: old[: len(old) // 2], "malformed"),
        (lambda old: old[:-100], ""),
        (lambda old: old[:4096] + bytes(4096) + old[8192:], ""),
        (lambda old: old[:47] + b"\xff" + old[48:], "unsupported file format"),
        (
            lambda old: old.replace(b"payload VARCHAR", b"payl\xffad VARCHAR").replace(
                b"payload TEXT", b"payl\xffad TEXT"
            ),
            "",
        ),
    ],
    ids=[
        *("other-bytes", "zeros", "header", "first-page", "half", "tail", "a-page", "format"),
        "no-text",
    ],
)
def test_damage(
    file: Path, damage: Callable[[bytes], bytes], says: str, use: Callable[[Evidence], object]
) -> None:
    old = file.read_bytes()
    file.write_bytes(damage(old))
    assert file.read_bytes() != old
    assert says in assert_kept_aside(file, use)
    (kept,) = kept_in(file.parent)
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name, kept.name]


@pytest.mark.parametrize("large", [False, True])
def test_damage_that_is_met_while_reading(
    file: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """A number changed in one payload, which SQLite cannot know of; also in a store too large to be
    looked through.
    """
    if large:
        monkeypatch.setattr(sqlite, "_LOOKED_THROUGH", 0)
    old = file.read_bytes()
    place = old.index(b'"p50":3')
    file.write_bytes(old[:place] + b'"p50":4' + old[place + 7 :])
    assert "is not what was written" in assert_kept_aside(file, Evidence.export)


def test_damage_deep_in_a_large_store(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not all is looked through, the first that needs the page finds it."""
    monkeypatch.setattr(sqlite, "_LOOKED_THROUGH", 0)
    old = file.read_bytes()
    page = old.index(b'"samples"') // 4096 * 4096
    file.write_bytes(old[:page] + random.Random(0).randbytes(4096) + old[page + 4096 :])
    assert Evidence(str(file)).machines() == {}
    assert kept_in(file.parent) == []
    assert "malformed" in assert_kept_aside(file, _read)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("DROP TABLE vertebra_machines", "no table vertebra_machines"),
        ("DROP TABLE vertebra_measurements", "no table vertebra_measurements"),
        ("DROP TABLE vertebra_meta", "no table vertebra_meta"),
        ("DELETE FROM vertebra_meta", "does not say its version"),
        ("UPDATE vertebra_meta SET value = 'one'", "does not say its version"),
        ("ALTER TABLE vertebra_meta RENAME COLUMN value TO v", "no column value"),
        ("ALTER TABLE vertebra_measurements DROP COLUMN engine", "no column engine"),
        ("UPDATE vertebra_measurements SET payload = '{}'", "is not what was written"),
        ("UPDATE vertebra_measurements SET payload = x'00'", "is not what was written"),
    ],
)
def test_tables_that_are_not_whole(file: Path, change: str, says: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(change)
    connection.close()
    assert says in assert_kept_aside(file, _read)


def test_any_damage_is_told_or_harms_nothing(file: Path) -> None:
    """Flipped bits, lost pages and cut ends: never another error, never a wrong number."""
    good, generator = file.read_bytes(), random.Random(0)
    truth = sorted(SOME, key=lambda one: one.measured_at, reverse=True)
    told = 0
    for _ in range(150):
        for path in kept_in(file.parent):
            path.unlink()
        bad = bytearray(good)
        place = generator.randrange(len(bad))
        match generator.randrange(4):
            case 0:
                bad[place] ^= 1 << generator.randrange(8)
            case 1:
                bad[generator.randrange(4096)] = generator.randrange(256)
            case 2:
                page = place // 4096 * 4096
                bad[page : page + 4096] = generator.randbytes(4096)
            case _:
                del bad[place:]
        file.write_bytes(bad)
        try:
            found = Evidence(str(file)).measurements(latest=False)
        except VertebraError:
            told += 1
            (kept,) = kept_in(file.parent)
            assert kept.read_bytes() == bytes(bad)
        else:
            assert found == (truth if bad else [])
    assert told > 60


def test_the_log_beside_it_is_kept_too(file: Path, tmp_path: Path) -> None:
    """As a killed process leaves it: rows that are in the log only."""
    writer = sqlite3.connect(file)
    (page,) = writer.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = 'vertebra_measurements'"
    ).fetchone()
    with writer:
        writer.execute("CREATE TABLE more (x)")
    log = file.with_name("evidence.sqlite-wal").read_bytes()
    killed = tmp_path / "killed" / "evidence.sqlite"
    killed.parent.mkdir()
    bad = bytearray(file.read_bytes())
    bad[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    killed.write_bytes(bad)
    killed.with_name("evidence.sqlite-wal").write_bytes(log)
    writer.close()
    assert_kept_aside(killed, _read)
    (kept,) = kept_in(killed.parent)
    assert kept.with_name(f"{kept.name}-wal").read_bytes() == log


def test_two_of_one_second_have_two_names(file: Path) -> None:
    for _ in range(3):
        file.write_bytes(b"nothing")
        with pytest.raises(VertebraError, match="kept"):
            Evidence(str(file)).measurements()
    assert len(kept_in(file.parent)) == 3


def test_eight_processes_that_find_it_at_once(file: Path) -> None:
    """One sets it aside; what any of them writes afterwards is in the new store."""
    file.write_bytes(file.read_bytes()[:9000])
    before = file.read_bytes()
    lines = together([started(str(file), 8 * place, 8, "stubborn") for place in range(8)])
    refused = [int(some[-1].split()[1]) for some in lines]
    assert sum(refused) >= 1
    assert max(refused) <= 2
    (kept,) = kept_in(file.parent)
    assert kept.read_bytes() == before
    found = Evidence(str(file)).measurements()
    assert sorted(one.conditions.threads - 1 for one in found) == list(range(64))


def test_a_new_store_is_not_taken_for_the_damaged_one(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process was faster, and a third has begun a new store already."""
    aside = file.with_name("aside")

    def another_was_faster(*_: object) -> str:
        monkeypatch.setattr(sqlite, "faults", lambda *_: None)
        file.rename(aside)
        Evidence(str(file)).add([measured(1)])
        return "a fault"

    monkeypatch.setattr(sqlite, "faults", another_was_faster)
    with pytest.raises(VertebraError, match="another process has just set it aside"):
        Evidence(str(file)).measurements()
    assert Evidence(str(file)).measurements() == [measured(1)]
    assert kept_in(file.parent) == []


def test_a_reader_that_has_it_open_harms_no_new_store(file: Path) -> None:
    """SQLite removes the log beside a file's name when the last reader of that file leaves."""
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM vertebra_meta").fetchone()
    with sqlite3.connect(file) as writer:
        writer.execute("DELETE FROM vertebra_meta")
    writer.close()
    with pytest.raises(VertebraError, match="kept"):
        Evidence(str(file)).measurements()
    Evidence(str(file)).add([measured(1)])
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("SELECT count(*) FROM vertebra_meta").fetchone()
    log = file.with_name(file.name + "-wal")
    before = log.stat().st_ino
    reader.close()
    assert log.stat().st_ino == before
    other.close()
    assert Evidence(str(file)).measurements() == [measured(1)]


def test_a_link_stays_and_what_it_names_is_kept(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.sqlite"
    link.parent.mkdir()
    link.symlink_to(file)
    file.write_bytes(b"nothing")
    with pytest.raises(VertebraError, match="kept"):
        Evidence(str(link)).measurements()
    assert len(kept_in(tmp_path)) == 1
    assert [path.name for path in link.parent.iterdir()] == ["link.sqlite"]


def test_a_damaged_store_that_cannot_be_renamed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(b"nothing")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(VertebraError, match="cannot be set aside: Permission denied"):
        Evidence(str(file)).measurements()
    assert file.read_bytes() == b"nothing"


@pytest.mark.parametrize("name", ["notes.txt", "photo.jpg", "no-suffix"])
def test_a_file_of_another_kind_stays_where_it_is(tmp_path: Path, name: str) -> None:
    """Somebody mistyped a path."""
    other = tmp_path / name
    other.write_bytes(b"dear diary " * 1000)
    for use in (_read, _add):
        with pytest.raises(VertebraError, match="is no evidence store") as caught:
            use(Evidence(str(other)))
        assert str(other) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert other.read_bytes() == b"dear diary " * 1000


@pytest.mark.parametrize("name", ["no-suffix", "evidence.sqlite"])
def test_a_store_of_any_name_is_known_by_its_tables(file: Path, name: str) -> None:
    store = file.rename(file.with_name(name))
    store.write_bytes(b"SQLite format 4\0" + store.read_bytes()[16:])
    with pytest.raises(VertebraError, match="kept"):
        Evidence(str(store)).measurements()


def test_the_users_own_store_is_ours_whatever_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERTEBRA_EVIDENCE", str(tmp_path / "store"))
    (tmp_path / "store").write_bytes(b"garbage")
    with pytest.raises(VertebraError, match="kept"):
        Evidence().measurements()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_of_something_else_stays_as_it_is(tmp_path: Path, mode: str) -> None:
    other = tmp_path / "places.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.execute("INSERT INTO bookmarks VALUES ('x')")
    connection.close()
    before = other.read_bytes()
    for use in (_read, _add):
        with pytest.raises(VertebraError, match="is a SQLite database of something else"):
            use(Evidence(str(other)))
    assert other.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["places.sqlite"]


def test_a_database_without_tables_becomes_a_store(tmp_path: Path) -> None:
    empty = tmp_path / "empty.sqlite"
    with sqlite3.connect(empty) as connection:
        connection.execute("CREATE TABLE x (y)")
        connection.execute("DROP TABLE x")
    connection.close()
    assert empty.stat().st_size > 0
    assert Evidence(str(empty)).measurements() == []
    assert Evidence(str(empty)).add([measured()]) == 1


def test_a_store_of_a_later_version_stays_as_it_is(store: str) -> None:
    from sqlalchemy import text

    evidence = Evidence(store)
    evidence.add([measured()])
    evidence._database.write(
        lambda connection: connection.execute(text("UPDATE vertebra_meta SET value = '2'"))
    )
    for use in (_read, _add):
        with pytest.raises(VertebraError, match="was made by a later vertebra"):
            use(Evidence(store))


def test_what_a_server_has_lost_is_told(database: str) -> None:
    import psycopg

    evidence = Evidence(database)
    evidence.add([measured()])
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE vertebra_measurements SET payload = '{}'")
        with pytest.raises(VertebraError, match=r"is not what was written.*from a backup"):
            evidence.measurements()
        connection.execute("DROP TABLE vertebra_machines")
        with pytest.raises(VertebraError, match=r"no table vertebra_machines.*from a backup"):
            evidence.add([measured()])


def test_a_whole_store_is_never_set_aside(file: Path) -> None:
    """Used by threads while a program looks through it."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                Evidence(str(file)).measurements()
        except VertebraError as error:
            failed.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(30):
        Evidence(str(file)).add([measured(100 + number)])
    stop.set()
    for reader in readers:
        reader.join()
    assert failed == []
    assert kept_in(file.parent) == []


def test_sqlite_s_own_program_reads_what_was_kept(file: Path) -> None:
    """Where it is installed: what can be saved of a damaged store is not lost."""
    import shutil

    program = shutil.which("sqlite3")
    if program is None:
        pytest.skip("sqlite3 is not installed")
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM vertebra_meta")
    connection.close()
    with pytest.raises(VertebraError, match="kept"):
        Evidence(str(file)).measurements()
    (kept,) = kept_in(file.parent)
    done = subprocess.run(
        [program, str(kept), "SELECT count(*) FROM vertebra_measurements"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "60\n"


def test_what_was_written_into_a_store_set_aside_is_written_anew(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process finds damage while this one writes."""
    from vertebra.evidence import database

    renamed = file.with_name("aside")
    look = database.Database._is_ready

    def renamed_while_we_write(self: database.Database, connection: object) -> bool:
        ready = look(self, connection)
        if not renamed.exists():
            file.rename(renamed)
        return ready

    monkeypatch.setattr(database.Database, "_is_ready", renamed_while_we_write)
    assert Evidence(str(file)).add([measured(100)]) == 1
    assert Evidence(str(file)).measurements() == [measured(100)]


def test_nobody_s_store_is_renamed_under_his_hands(file: Path) -> None:
    file.write_bytes(b"nothing")
    failed: list[str] = []

    def read() -> None:
        try:
            Evidence(str(file)).measurements()
        except VertebraError as error:
            failed.append(str(error))

    with damage.in_use(file):
        reader = threading.Thread(target=read)
        reader.start()
        reader.join(timeout=0.5)
        assert reader.is_alive()
        assert file.read_bytes() == b"nothing"
    reader.join()
    assert "it was kept" in failed[0]


def test_a_store_that_is_used_without_end(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b"nothing")
    monkeypatch.setattr(damage, "_PATIENCE", 0.1)
    with damage.in_use(file), pytest.raises(VertebraError, match="are using it all the time"):
        Evidence(str(file)).measurements()
    assert file.read_bytes() == b"nothing"
