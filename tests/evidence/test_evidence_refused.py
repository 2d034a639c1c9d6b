"""Addresses that are none, places that cannot be written to: one sentence, no password."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from measured import measured

from vertebra.core import VertebraError
from vertebra.evidence import Evidence

SECRET = "geheim"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("postgre://host/team", "unknown kind of database 'postgre'; did you mean postgresql?"),
        ("https://host/team", "unknown kind of database 'https'; known: "),
        (f"postgresql://me:{SECRET}@host:port/team", "postgresql://..., is none"),
        (f"postgresql://me:{SECRET}@x@host/team", "written %40"),
        (f"postgresql+asyncpg://me:{SECRET}@host/team", ""),
        (f"postgresql+psycopg2://me:{SECRET}@host/team", "pip install 'vertebra[postgres]'"),
        (f"mysql+pymysql://me:{SECRET}@host/team", "needs pymysql, which is not installed"),
        ("sqlite+aiosqlite:///x.db", ""),
        ("sqlite:///file:x.db?mode=ro&uri=true", "named by its path"),
        ("://", "is none"),
        ("a" * 300, "cannot be reached: File name too long"),
        ("a\0b", "no path for an evidence store"),
        ("~nobody-of-this-name/x", "no path for an evidence store"),
        (".", "cannot be opened or written to"),
        ("file/x.db", "cannot be reached: "),
    ],
)
def test_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(VertebraError) as caught:
        Evidence(address).add([measured()])
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_psycopg_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(VertebraError, match=r"needs psycopg, .* 'vertebra\[postgres\]'"):
        Evidence("postgres://me@host/team")


def test_no_password_is_shown(database: str) -> None:
    """Also not one among the options, nor in what the driver says."""
    import urllib.parse

    parts = urllib.parse.urlsplit(database)
    address = f"{parts.scheme}://vertebra:{SECRET}@127.0.0.1:{parts.port}{parts.path}"
    for given in (address, address.replace("postgresql", "postgres")):
        evidence = Evidence(given)
        assert evidence.name == address.replace("postgresql", "postgresql+psycopg").replace(
            SECRET, "***"
        )
        evidence.add([measured()])
    asked = f"{database}?password={SECRET}"
    assert Evidence(asked).measurements() == [measured()]
    assert SECRET not in Evidence(asked).name
    for wrong in (
        address.replace(f"{parts.path}", f"/{SECRET}"),
        address.replace(str(parts.port), "1"),
        f"{database}?password={SECRET}&options={SECRET}",
    ):
        with pytest.raises(VertebraError, match="the evidence store postgresql") as caught:
            Evidence(wrong).measurements()
        assert SECRET not in str(caught.value).replace(f"/{SECRET}", "")
        assert "\n" not in str(caught.value)


def test_a_server_that_does_not_answer() -> None:
    with pytest.raises(VertebraError, match="Connection refused"):
        Evidence("postgresql://me@127.0.0.1:1/team").measurements()


def test_a_user_who_may_make_no_tables(database: str) -> None:
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        reader = Evidence(database.replace("vertebra@", "reader@"))
        assert reader.measurements() == []
        with pytest.raises(VertebraError, match="permission denied for schema public"):
            reader.add([measured()])
        Evidence(database).add([measured()])
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        assert reader.measurements() == [measured()]
        with pytest.raises(VertebraError, match="permission denied for table"):
            reader.add([measured(1)])
        connection.execute("DROP OWNED BY reader")
        connection.execute("DROP ROLE reader")


# As another user: root may write anywhere.
_AS_NOBODY = """
import os, sys
sys.path.insert(0, sys.argv[2])
from measured import measured
from vertebra.evidence import Evidence
Evidence(sys.argv[3]).add([measured(9)])  # all that has to be imported
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for use in (lambda store: len(store.measurements()), lambda store: store.add([measured(1)])):
    try:
        print(use(Evidence(sys.argv[1])))
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder into which every user may look."""
    folder = Path(tempfile.mkdtemp(prefix="vertebra-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def as_nobody(store: Path, tmp_path: Path) -> list[str]:
    """What a user who may only read gets from reading, and from writing."""
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(store), here, str(tmp_path / "own.sqlite")],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_store_that_may_only_be_read(everybodys: Path, tmp_path: Path) -> None:
    file = everybodys / "evidence.sqlite"
    Evidence(str(file)).add([measured()])
    file.chmod(0o444)
    everybodys.chmod(0o555)
    before = file.read_bytes()
    for answer in as_nobody(file, tmp_path):
        assert answer.startswith(f"VertebraError the evidence store {file} cannot be opened or wri")
        assert "this user must be allowed to write to it and to its folder" in answer
    assert file.read_bytes() == before
    assert [path.name for path in everybodys.iterdir()] == ["evidence.sqlite"]


def test_a_folder_that_may_only_be_read(everybodys: Path, tmp_path: Path) -> None:
    everybodys.chmod(0o555)
    for file in (everybodys / "evidence.sqlite", everybodys / "deep" / "er" / "evidence.sqlite"):
        read, write = as_nobody(file, tmp_path)
        assert read == "0"
        assert write.startswith(f"VertebraError the evidence store {file} cannot be")
        assert "\n" not in write
    assert list(everybodys.iterdir()) == []


def test_a_file_that_may_not_even_be_read(everybodys: Path, tmp_path: Path) -> None:
    file = everybodys / "evidence.sqlite"
    Evidence(str(file)).add([measured()])
    file.chmod(0)
    for answer in as_nobody(file, tmp_path):
        assert answer.startswith(f"VertebraError the evidence store {file} cannot be opened")
    everybodys.chmod(0o700)
    if os.geteuid() == 0:
        for answer in as_nobody(file, tmp_path):
            assert answer.startswith(f"VertebraError the evidence store {file} cannot be reached")


def _add_for_ever(evidence: Evidence, done: list[int]) -> None:
    long = tuple(1 / (number + 3) for number in range(1000))
    for number in itertools.count(1):
        some = [measured(number, samples=long), measured(number, threads=5)]
        done += [evidence.add(some)]


def test_a_full_disk(tmp_path: Path) -> None:
    """A tmpfs of a megabyte, where one may be mounted: nothing half-written, nothing lost."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        evidence = Evidence(str(small / "evidence.sqlite"))
        evidence.add([measured(0)])
        with pytest.raises(VertebraError, match="no room left on its disk"):
            _add_for_ever(evidence, done := [])
        there = len(evidence.measurements(latest=False))
        assert there == 1 + sum(done) > 3
        (small / "filler").write_bytes(b"0" * shutil.disk_usage(small).free)
        assert len(evidence.measurements(latest=False)) == there
        (small / "filler").unlink()
        shutil.copytree(small, tmp_path / "larger")
        larger = Evidence(str(tmp_path / "larger" / "evidence.sqlite"))
        assert larger.add([measured(2000)]) == 1
        assert len(larger.measurements(latest=False)) == there + 1
    finally:
        subprocess.run(["umount", str(small)], check=True)
