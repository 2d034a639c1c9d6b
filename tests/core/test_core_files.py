"""Files that are whole or absent, whatever happens while they are written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vertebra.core import replace_file, write_json


class DiskFullError(OSError):
    """What the tests make the disk say."""


def _refuse(_handle: int) -> None:
    raise DiskFullError


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", ["näht\n", b"\x00\xff", ""])
def test_the_content_arrives(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "file"
    replace_file(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert _names(tmp_path) == ["file"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", _refuse)
    with pytest.raises(DiskFullError):
        replace_file(path, "new, and longer than before")
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["file"]


def test_a_failed_first_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _refuse)
    with pytest.raises(DiskFullError):
        replace_file(tmp_path / "file", "new")
    assert _names(tmp_path) == []


def test_the_content_is_on_disk_before_the_name_and_the_name_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Synced twice: the new bytes while the old name still stands, then the folder."""
    path = tmp_path / "file"
    path.write_text("old")
    seen: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _handle: seen.append(path.read_text()))
    replace_file(path, "new")
    assert seen == ["old", "new"]


def test_a_killed_writer_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    code = (
        "import os, sys; from pathlib import Path; from vertebra.core import replace_file\n"
        "os.fsync = lambda handle: os._exit(9)\n"
        "replace_file(Path(sys.argv[1]), 'new')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == 9
    assert path.read_text() == "old"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_cannot_say_is_refused_and_the_old_file_stands(
    tmp_path: Path, value: object
) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(path, {"a": value})
    assert json.loads(path.read_text()) == {"a": 1}
    assert _names(tmp_path) == ["file.json"]
