"""The document by which one store's evidence comes into another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra.core import VertebraError
from vertebra.evidence.checks import check_credible, measurement_from, plain_data
from vertebra.evidence.measurement import Measurement
from vertebra.evidence.tables import LONGEST

SCHEMA = "vertebra.evidence/1"


def read_document(document: object) -> tuple[dict[str, dict[str, Any]], list[Measurement]]:
    """The machines and the measurements in what ``Evidence.export`` gave.

    Raises:
        VertebraError: it is no such document; the first thing that is wrong with it.
    """
    if not isinstance(document, Mapping) or "schema" not in document:
        raise VertebraError(
            f"evidence to import is an object with schema, machines and measurements, as vertebra "
            f"evidence export writes it; got {_kind(document)}"
        )
    if document["schema"] != SCHEMA:
        raise VertebraError(
            f"evidence to import has the schema '{SCHEMA}', got {document['schema']!r:.60}"
        )
    machines, measurements = document.get("machines", {}), document.get("measurements")
    if not isinstance(machines, Mapping):
        raise VertebraError("'machines' should be an object of descriptions by fingerprint")
    if not isinstance(measurements, list | tuple):
        raise VertebraError("'measurements' should be a list")
    try:
        return (
            {str(name): _machine(name, about) for name, about in machines.items()},
            [_measurement(number, plain) for number, plain in enumerate(measurements, start=1)],
        )
    except RecursionError:
        raise VertebraError("evidence to import is nested too deeply to be any") from None


def _machine(name: object, about: object) -> dict[str, Any]:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST or not isinstance(about, Mapping):
        raise VertebraError(f"machine {name!r:.60} should be an object under its fingerprint")
    plain: dict[str, Any] = plain_data(about, f"machine {name[:20]}")
    return plain


def _measurement(number: int, plain: object) -> Measurement:
    try:
        found = measurement_from(plain)
        check_credible(found)
        return found
    except VertebraError as error:
        raise VertebraError(f"measurement {number} to import: {error}") from None


def _kind(document: object) -> str:
    if isinstance(document, Mapping):
        return "an object without a schema"
    return "a list" if isinstance(document, list | tuple) else type(document).__name__
