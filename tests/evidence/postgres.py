"""A PostgreSQL of its own in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

USER = "vertebra"


def programs() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``; None where they are not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).resolve().parent if on_path else None


@contextlib.contextmanager
def cluster(binaries: Path) -> Iterator[str]:
    """The address of a running server, without a database's name."""
    folder = Path(tempfile.mkdtemp(prefix="vertebra-pg-"))  # a socket's path has to be short
    account = _account()
    try:
        if account:
            os.chown(folder, account["user"], account["group"])
        data = folder / "data"
        arguments = ["-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        _run([binaries / "initdb", *arguments], folder, account)
        port = _start(binaries, data, folder, account)
        try:
            yield f"postgresql://{USER}@127.0.0.1:{port}"
        finally:
            _run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"], folder, account)
    finally:
        shutil.rmtree(folder)


def _version(path: Path) -> int:
    return int(path.parent.parent.name)


def _account() -> dict[str, Any]:
    """For whom the server runs: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _start(binaries: Path, data: Path, folder: Path, account: dict[str, Any]) -> int:
    """Its port: another one where somebody else has just taken it."""
    for attempt in range(5):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
        command = [binaries / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log"]
        try:
            _run([*command, "start"], folder, account)
            return port
        except subprocess.CalledProcessError:
            if attempt == 4:
                raise
    raise AssertionError


def _run(command: list[Any], folder: Path, account: dict[str, Any]) -> None:
    # No pipes: the server would inherit them, and reading would never end.
    output = (folder / "output").open("wb")
    with output:
        subprocess.run(
            command, cwd=folder, stdout=output, stderr=output, check=True, timeout=120, **account
        )
