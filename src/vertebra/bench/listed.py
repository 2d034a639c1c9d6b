"""Which measurements are of the catalogue's networks, and not of others under their names."""

from __future__ import annotations

from vertebra.core import VertebraError
from vertebra.evidence import Measurement
from vertebra.zoo import Architecture, get

# Where a measurement at another size keeps the catalogue's fingerprint, that of the network's own.
CATALOGUE = "catalogue"


def listed(measurement: Measurement) -> Architecture | None:
    """The catalogue's entry of what was measured, at whatever size.

    None for another library's network, a user's own, or an earlier version's of that name.
    """
    if measurement.model.startswith("timm/"):  # which would load PyTorch to be looked up
        return None
    try:
        entry = get(measurement.model)
    except VertebraError:
        return None
    prints = measurement.conditions.fingerprint, measurement.extra.get(CATALOGUE)
    return entry if entry.fingerprint in prints else None


def listed_at_own_size(measurement: Measurement) -> Architecture | None:
    """The same, where it was measured at the size that its published figures are of."""
    entry = listed(measurement)
    if entry is None or entry.input_size != measurement.conditions.input_shape[1:]:
        return None
    return entry
