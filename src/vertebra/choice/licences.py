"""Under which licence published weights may be used, as far as anybody states one."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING

from vertebra.core import nearest, unknown

if TYPE_CHECKING:
    from vertebra.evidence import Published

# What a requirement calls weights whose licence nobody states.
UNKNOWN = "unknown"


@functools.cache
def _stated() -> Mapping[tuple[str, str], str]:
    """(model, weights) -> licence, of each line of ``licences.csv``."""
    text = files("vertebra.evidence").joinpath("licences.csv").read_text()
    return {
        (line["model"], line["weights"]): line["licence"]
        for line in csv.DictReader(text.splitlines())
    }


def licence_of(row: Published, model: str) -> str | None:
    """The licence that the publisher of a model's weights states, such as "apache-2.0".

    None: it states none. So it is for most of torchvision's, whose README leaves it to the user
    whether what the images were licensed for covers the weights. Nothing is guessed.
    """
    return _stated().get((model, row.weights))


def known_licences() -> tuple[str, ...]:
    """Those that some weights have, and the word for weights that state none."""
    return (*sorted(set(_stated().values())), UNKNOWN)


def accepts(accepted: tuple[str, ...] | None, licence: str | None) -> bool:
    """Whether weights of that licence may be used where these are accepted; None: any."""
    return accepted is None or (licence or UNKNOWN) in accepted


def check_licence(word: str) -> None:
    """Refuse what is probably a slip of the pen; another licence, which nothing here has, may be.

    Raises:
        VertebraError: no licence of that name, but one of nearly that name.
    """
    known = known_licences()
    if word not in known and nearest(word, known) is not None:
        raise unknown("licence", word, known)
