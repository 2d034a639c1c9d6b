"""Which measurements are of the catalogue's networks, and not of others under their names."""

from __future__ import annotations

import functools

from vertebra.evidence import Measurement
from vertebra.zoo import Architecture, get, list_models

# Where a measurement at another size keeps the catalogue's fingerprint, that of the network's own.
CATALOGUE = "catalogue"


def listed(measurement: Measurement) -> Architecture | None:
    """The catalogue's entry of what was measured, at whatever size.

    By its graph: under another name, as another library's, it costs the same. None for a network
    that the catalogue has not, or not any more under that name.
    """
    names = _names()
    for of_graph in (measurement.conditions.fingerprint, measurement.extra.get(CATALOGUE)):
        some = names.get(of_graph, ())
        if some:
            return get(measurement.model if measurement.model in some else some[0])
    return None


@functools.cache
def _names() -> dict[object, list[str]]:
    """The catalogue's networks by their graph; some are the same under two names."""
    found: dict[object, list[str]] = {}
    for name in list_models():
        found.setdefault(get(name).fingerprint, []).append(name)
    return found


def listed_at_own_size(measurement: Measurement) -> Architecture | None:
    """The same, where it was measured at the size that its published figures are of."""
    entry = listed(measurement)
    if entry is None or entry.input_size != measurement.conditions.input_shape[1:]:
        return None
    return entry
