"""A measurement as a row, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields
from datetime import datetime
from typing import Any

from vertebra.core import VertebraError
from vertebra.evidence.checks import measurement_from, moment
from vertebra.evidence.damage import DamageError
from vertebra.evidence.measurement import Measurement
from vertebra.evidence.tables import LONGEST


def row_of(measurement: Measurement) -> dict[str, Any]:
    """The columns of one measurement; its ``id`` is the SHA-256 of its payload.

    Raises:
        VertebraError: a value is not of its field's type, or too long to be searched by.
    """
    # Through the checks, so that 1 and 1.0 do not make two rows of one measurement.
    measurement = measurement_from(measurement.to_dict())
    conditions = measurement.conditions
    payload = _payload(measurement)
    words = {
        "model": measurement.model,
        "fingerprint": conditions.fingerprint,
        "engine": conditions.engine,
        "precision": conditions.precision,
        "workload": conditions.workload,
        "machine": conditions.machine,
    }
    for name, word in words.items():
        if len(word) > LONGEST:
            raise VertebraError(f"'{name}' has {len(word)} characters, at most {LONGEST} are kept")
    return {
        "id": hashlib.sha256(payload.encode()).hexdigest(),
        "key": conditions.key,
        "measured_at": sortable(moment(measurement.measured_at)),
        **words,
        "batch": conditions.batch,
        "payload": payload,
    }


def sortable(time: datetime) -> str:
    """A time in UTC as text of one width, so that texts sort as times do."""
    return time.isoformat(timespec="microseconds")


def measurement_of(identity: object, payload: object) -> Measurement:
    """The measurement of one row.

    Raises:
        DamageError: the payload is not what the row was named after.
        VertebraError: it is whole, and has fields that this version does not know.
    """
    intact = isinstance(payload, str) and (hashlib.sha256(payload.encode()).hexdigest() == identity)
    if not intact:
        raise DamageError(f"measurement {str(identity)[:12]} is not what was written")
    try:
        return Measurement.from_dict(json.loads(str(payload)))
    except (TypeError, KeyError):
        raise VertebraError(
            f"measurement {str(identity)[:12]} has fields of a later vertebra; update vertebra"
        ) from None


def text_of(plain: Mapping[str, Any]) -> str:
    """JSON that is equal for equal data: sorted, nothing between, every float to its last bit."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _payload(measurement: Measurement) -> str:
    """Without what is at its default: a field that is added some day changes no identity."""
    plain = _short(measurement)
    plain["conditions"] = _short(measurement.conditions)
    return text_of(plain)


def _short(owner: Any) -> dict[str, Any]:
    plain = asdict(owner)
    return {
        field.name: plain[field.name]
        for field in fields(owner)
        if getattr(owner, field.name) != _default(field)
    }


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
