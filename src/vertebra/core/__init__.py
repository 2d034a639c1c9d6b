"""What every room stands on: errors that speak, addressed randomness, files that are never torn."""

from vertebra.core.errors import STOPPED, Notice, VertebraError, nearest, place_of, unknown
from vertebra.core.files import replace_file, sync_folder, write_json
from vertebra.core.preprocessing import Preprocessing
from vertebra.core.quantities import parse_bytes, parse_shape
from vertebra.core.random import address, rng

__all__ = [
    "STOPPED",
    "Notice",
    "Preprocessing",
    "VertebraError",
    "address",
    "nearest",
    "parse_bytes",
    "parse_shape",
    "place_of",
    "replace_file",
    "rng",
    "sync_folder",
    "unknown",
    "write_json",
]
