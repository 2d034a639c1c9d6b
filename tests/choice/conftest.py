"""A made-up store that several tests read and none writes to."""

from __future__ import annotations

import pytest

import made_up
from vertebra.evidence import Evidence


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Two settings of some networks of every family."""
    store = Evidence(str(tmp_path_factory.mktemp("store") / "evidence.sqlite"))
    for setting in ("eager fp32", "openvino bf16"):
        some = [made_up.measurement(name, setting) for name in made_up.MEASURED]
        store.add(some, made_up.MACHINE)
    return store
