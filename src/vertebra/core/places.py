"""Where what outlives a run is kept on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """What may be lost and made again: ``VERTEBRA_HOME``, or where the system keeps caches."""
    own = os.environ.get("VERTEBRA_HOME")
    if own:
        return Path(own)
    # Imported here: the catalogue is listed without it.
    from platformdirs import user_cache_path

    return user_cache_path("vertebra", appauthor=False)


def data_folder() -> Path:
    """What must not be lost: ``VERTEBRA_HOME``, or where the system keeps a user's data."""
    own = os.environ.get("VERTEBRA_HOME")
    if own:
        return Path(own)
    from platformdirs import user_data_path

    return user_data_path("vertebra", appauthor=False)
