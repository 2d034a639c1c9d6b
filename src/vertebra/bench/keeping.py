"""What was measured goes into the store, or, where that fails, into a file beside it."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from vertebra.core import VertebraError
from vertebra.core.files import write_json
from vertebra.core.places import data_folder
from vertebra.evidence import Evidence, Measurement
from vertebra.evidence.store import document_of
from vertebra.machine import Machine


def keep(found: Sequence[Measurement], machine: Machine, store: Evidence) -> None:
    """Add what was measured on a machine.

    Raises:
        VertebraError: the store cannot be used; it names the file in which the measurements are.
    """
    try:
        store.add(found, machine)
    except VertebraError as error:
        path = _beside(found, machine) if found else None
        if path is None:
            raise
        raise VertebraError(
            f"{error}; what was measured last is kept: vertebra evidence import {path}",
            exit_code=error.exit_code,
        ) from error


def _beside(found: Sequence[Measurement], machine: Machine) -> Path | None:
    """A file that holds them; None where none can be written."""
    document = document_of({machine.fingerprint: asdict(machine)}, found)
    for folder in (data_folder(), Path(tempfile.gettempdir())):
        path = folder / f"measured-{secrets.token_hex(4)}.json"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            write_json(path, document)
            return path
    return None
