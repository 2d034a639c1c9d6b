"""Which cells are measured together: as many as memory holds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import psutil

from vertebra.bench.plan import Cell
from vertebra.core import VertebraError
from vertebra.machine import describe
from vertebra.zoo import get

# Processes alive at a time, and what one takes beside its network, in bytes.
_TOGETHER, _PROCESS = 8, 700 * 2**20


def groups(pending: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Cells in their order, as many together as memory holds; those of one network if they can be,
    which are exported once then and compared side by side.
    """
    # A container may have less than the machine; the process that writes files is one more.
    available = min(psutil.virtual_memory().available, describe().memory)
    budget = 0.6 * available - _PROCESS
    group: list[Cell] = []
    taken = 0.0
    for some in _blocks(pending, budget):
        need = sum(_need(cell) for cell in some)
        fits = len(group) + len(some) <= _TOGETHER and taken + need <= budget
        if group and not (fits and group[0].workload == some[0].workload):
            yield group
            group, taken = [], 0.0
        group += some
        taken += need
    if group:
        yield group


def _blocks(pending: Sequence[Cell], budget: float) -> Iterator[list[Cell]]:
    """Cells of one network and input, no more than can be together."""
    for _, of_one in itertools.groupby(pending, key=lambda c: (c.target, c.input_shape)):
        block: list[Cell] = []
        for cell in of_one:
            taken = sum(_need(one) for one in block)
            if block and (len(block) == _TOGETHER or taken + _need(cell) > budget):
                yield block
                block = []
            block.append(cell)
        yield block


def _need(cell: Cell) -> float:
    """Bytes that its process may take: of weights and copies of them, in training with gradients
    and AdamW's two numbers; and of maps, which training keeps.
    """
    trains = cell.workload == "train"
    weights, maps = (20.0, 0.6) if trains else (12.0, 0.2)
    params, moved = _extent(cell)
    return _PROCESS + weights * params + maps * cell.batch * moved


def _extent(cell: Cell) -> tuple[float, float]:
    """Parameters, and bytes of the maps that an image's layers read and write; of what the
    catalogue has not, those of a large network.
    """
    try:
        entry = get(cell.target)
    except VertebraError:
        return 1e8, 5e8
    area = (cell.input_shape[-1] / entry.input_size[1]) ** 2
    return entry.params, area * sum(moved - own for _, moved, own, _ in entry.work.values())
