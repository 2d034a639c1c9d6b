"""Plain data in, a :class:`Measurement` out, or a sentence on what is wrong with it.

What a field takes is read off the annotations of the two classes.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from typing import Any, get_args, get_origin, get_type_hints

from vertebra.core import VertebraError, unknown
from vertebra.evidence.measurement import Conditions, Measurement


def measurement_from(plain: object) -> Measurement:
    """The measurement that ``Measurement.to_dict`` wrote, each value of its field's type.

    Raises:
        VertebraError: a field is missing, unknown or of another type, or a number is not finite.
    """
    found: Measurement = _fitted(plain, Measurement, "a measurement")
    moment(found.measured_at)
    if not found.conditions.input_shape or min(found.conditions.input_shape) < 1:
        raise VertebraError("'input_shape' should be (batch, ...), each at least 1")
    return found


def check_credible(found: Measurement) -> None:
    """Refuse what nobody can have measured: it would be believed as long as it is the newest.

    Raises:
        VertebraError: a time to come, a speed of 0 or less, or a median outside of its interval.
    """
    if moment(found.measured_at) > datetime.now(UTC) + _CLOCKS_DIFFER:
        raise _wrong("measured_at", "no time to come", found.measured_at)
    low, high = found.interval
    if not 0 < low <= found.p50 <= high:
        raise _wrong("p50", f"above 0 and within its interval, {low:g} to {high:g}", found.p50)
    if not found.images_per_second > 0:
        raise _wrong("images_per_second", "above 0", found.images_per_second)


def moment(text: str) -> datetime:
    """A time in ISO 8601; in UTC where it names no other zone.

    Raises:
        VertebraError: it is no such time.
    """
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _wrong("measured_at", "a time like 2025-11-29T08:30:00Z", text) from None


def plain_data(value: Any, name: str) -> Any:
    """The same when it is made of what JSON has; tuples become lists.

    Raises:
        VertebraError: something else is in it.
    """
    if isinstance(value, Mapping):
        return {_text(key, name): plain_data(item, name) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(item, name) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, name)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _number(value, name)
    raise _wrong(name, "what JSON can hold", value)


# A measurement may come from a machine whose clock is ahead.
_CLOCKS_DIFFER = timedelta(days=1)

# Read off once: many measurements come at a time.
_KINDS = {owner: get_type_hints(owner) for owner in (Conditions, Measurement)}


def _fitted(plain: object, owner: type[Any], what: str) -> Any:
    """An ``owner`` of the values in ``plain``."""
    if not isinstance(plain, Mapping):
        raise VertebraError(f"{what} should be an object, got {_shown(plain)}")
    kinds = _KINDS[owner]
    # The key follows from the conditions.
    given = {name: value for name, value in plain.items() if name != "key"}
    for name in given:
        if name not in kinds:
            raise unknown(f"field of {what}", str(name), kinds)
    for field in fields(owner):
        needed = field.default is MISSING and field.default_factory is MISSING
        if needed and field.name not in given:
            raise VertebraError(f"{what} needs '{field.name}'")
    return owner(**{name: _fit(value, kinds[name], name) for name, value in given.items()})


def _fit(value: object, kind: Any, name: str) -> Any:
    """``value`` as the annotation ``kind`` has it."""
    if kind is Any:
        return plain_data(value, name)
    if kind is Conditions:
        return _fitted(value, Conditions, "its conditions")
    origin, inner = get_origin(kind), get_args(kind)
    if origin is types.UnionType:
        (other,) = (member for member in inner if member is not types.NoneType)
        return None if value is None else _fit(value, other, name)
    if origin is tuple:
        return _tuple(value, inner, name)
    if origin is Mapping:
        return _mapping(value, inner[1], name)
    return _SCALARS[kind](value, name)


def _tuple(value: object, inner: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(name, "a list", value)
    if inner[-1] is Ellipsis:
        fit = _SCALARS[inner[0]]  # found once: of these there are thousands
        return tuple(fit(item, name) for item in value)
    if len(value) != len(inner):
        raise _wrong(name, f"a list of {len(inner)}", value)
    return tuple(_fit(item, kind, name) for item, kind in zip(value, inner, strict=True))


def _mapping(value: object, kind: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(name, "an object", value)
    return {_text(key, name): _fit(item, kind, name) for key, item in value.items()}


def _text(value: object, name: str) -> str:
    # PostgreSQL has no character zero, and nothing has a UTF-8 code for half a surrogate pair.
    if not isinstance(value, str) or "\0" in value or not _encodable(value):
        raise _wrong(name, "text", value)
    return str(value)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(value: object, name: str) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass  # an integer beyond every float
    raise _wrong(name, "a finite number", value)


def _whole(value: object, name: str) -> int:
    # Other programs write 8 as 8.0, and databases hold 64 bits.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return int(value)
    raise _wrong(name, "a whole number", value)


def _flag(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(name, "true or false", value)


_SCALARS: dict[Any, Callable[[object, str], Any]] = {
    str: _text,
    float: _number,
    int: _whole,
    bool: _flag,
}


def _wrong(name: str, expected: str, got: object) -> VertebraError:
    return VertebraError(f"'{name}' should be {expected}, got {_shown(got)}")


def _shown(value: object) -> str:
    """A value in few words."""
    if isinstance(value, Mapping | list | tuple):
        return "an object" if isinstance(value, Mapping) else f"a list of {len(value)}"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
