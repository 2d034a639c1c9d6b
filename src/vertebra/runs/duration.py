"""Lengths of training with their unit: epochs, or optimiser steps."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator

_FORM = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ep|ba)?\s*")


@dataclass(frozen=True)
class Duration:
    """``value`` epochs ("ep") or batches that the optimiser steps on ("ba")."""

    value: float
    unit: Literal["ep", "ba"] = "ep"

    @classmethod
    def of(cls, given: object) -> Duration:
        """ "10ep", "0.5ep", "500ba", or a number, which counts epochs.

        Raises:
            ValueError: it is none of these.
        """
        if isinstance(given, Duration):
            return given
        if isinstance(given, int | float) and not isinstance(given, bool):
            value, unit = float(given), "ep"
        else:
            match = _FORM.fullmatch(given) if isinstance(given, str) else None
            if match is None:
                raise ValueError("a duration like 10ep (epochs) or 500ba (batches)")
            value, unit = float(match[1]), match[2] or "ep"
        if not 0 <= value < math.inf:
            raise ValueError("a duration of zero or more")
        if unit == "ba":
            if value != int(value):
                raise ValueError("a whole number of batches")
            return cls(value, "ba")
        return cls(value)

    def steps(self, steps_per_epoch: int) -> int:
        """In optimiser steps, rounded."""
        return round(self.value * steps_per_epoch) if self.unit == "ep" else int(self.value)

    def scaled(self, factor: float) -> Duration:
        """``factor`` times as long; batches in whole ones."""
        value = round(self.value * factor, 6)
        return Duration(round(value) if self.unit == "ba" else value, self.unit)

    def __str__(self) -> str:
        """As :meth:`of` reads it."""
        whole = self.value == int(self.value)
        return f"{int(self.value) if whole else self.value!r}{self.unit}"


def _validated(given: Any) -> Duration:
    try:
        return Duration.of(given)
    except ValueError as error:
        raise ValueError(f"Input should be {error}") from None


# A field of a recipe: text in YAML, a Duration in Python.
DurationField = Annotated[Duration, PlainValidator(_validated), PlainSerializer(str)]
