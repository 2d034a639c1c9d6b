"""Files that are complete or absent, also after a kill or a power cut."""

import json
import os
import secrets
from pathlib import Path
from typing import Any


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable: a rename is only on disk once its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, content: str | bytes) -> None:
    """Write ``content`` to ``path`` so that a reader finds the old file or the new one, never less.

    The content is synced under a temporary name in the same folder before one rename.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON, atomically; NaN is refused, since JSON has none."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    replace_file(path, text + "\n")
