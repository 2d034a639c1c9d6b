"""Operations under which an entry depends on many others: sums, norms, products, attention."""

from __future__ import annotations

from vertebra.anatomy.costs import measures
from vertebra.anatomy.receptive.layout import plain
from vertebra.anatomy.receptive.pointwise import agreed, together
from vertebra.anatomy.receptive.reach import Reach, merged_away, mixed, united
from vertebra.anatomy.receptive.step import Result, Step, Transfer


def reduction(step: Step) -> Result:
    """A sum, mean or maximum over dimensions, all of them if none are named."""
    reach = step.first
    rank = len(reach.layout)
    dims = step.attributes.get("dim")
    named = range(rank) if dims in (None, []) else ([dims] if isinstance(dims, int) else dims)
    gone = {dim % rank for dim in named}
    for dim in gone:
        reach = merged_away(reach, dim)
    layout = [plain(1) if dim in gone else own for dim, own in enumerate(reach.layout)]
    if not step.attributes.get("keepdim", False):
        layout = [own for dim, own in enumerate(layout) if dim not in gone]
    return reach.laid(tuple(layout))


def softmax(step: Step) -> Result:
    """Each entry sees all entries along the dimension."""
    reach = step.first
    return mixed(reach, [step.attributes.get("dim", -1) % len(reach.layout)])


def layer_norm(step: Step) -> Result:
    """Each entry sees the normalised slice that it lies in."""
    reach, rank = step.operand("input"), len(step.shape)
    normed = range(rank - len(step.attributes["normalized_shape"]), rank)
    return mixed(reach, normed) if reach else None


def group_norm(step: Step) -> Result:
    """Statistics over all positions of an image."""
    reach = step.operand("input")
    return mixed(reach, range(1, len(reach.layout))) if reach else None


def batch_norm(step: Step) -> Result:
    """Position by position with kept statistics; else (instance norm) over all positions."""
    reach = step.operand("input")
    return mixed(reach, range(len(reach.layout))) if reach and measures(step.node) else reach


def matrix_product(left: str, right: str) -> Transfer:
    """(..., n, k) times (..., k, m): rows or columns keep their positions, the sum loses them.

    Where both have positions, as queries and keys, the columns are seen as one: what becomes of the
    scores sums over them.
    """

    def transfer(step: Step) -> Result:
        rank, masked = len(step.shape), step.masks.apply_to(step.node)
        if masked and not step.masks.part_what_was_rolled():
            return None
        rows, columns = step.operand(left), step.operand(right)
        if rows is not None:
            rows = merged_away(rows, rank - 1)
        if columns is not None:
            columns = merged_away(columns, rank - 2, masked)
        if columns is not None and rows is not None and rows.layout[-2].tells:
            columns = merged_away(columns, rank - 1, masked)
        made = _mixed_into(rows, [columns], step)
        added = step.operand("self") if left != "self" else None
        return made and together([made, added], step.shape) if added else made

    return transfer


def attention(step: Step) -> Result:
    """Each query sees all keys and values of its group."""
    rank, masked = len(step.shape), step.masks.apply_to(step.node)
    if step.attributes.get("is_causal") or (masked and not step.masks.part_what_was_rolled()):
        return None  # who is hidden from whom stands in numbers
    query, *seen = (step.operand(name) for name in ("query", "key", "value"))
    if query is not None:
        query = merged_away(query, rank - 1)
    others = [merged_away(merged_away(x, rank - 2, masked), rank - 1) if x else None for x in seen]
    return _mixed_into(query, others, step)


def _mixed_into(rows: Reach | None, others: list[Reach | None], step: Step) -> Reach | None:
    """Each row of ``rows`` with everything of its batch in ``others``."""
    known = [side for side in (rows, *others) if side is not None]
    if not known:
        return None
    batch = agreed(known, step.shape[:-2])
    if batch is None:
        return None
    across = rows.layout[-2] if rows is not None else plain(step.shape[-2])
    along = [side.layout[-1] for side in others if side is not None and side.layout[-1].tells]
    return united(known, (*batch, across, along[0] if along else plain(step.shape[-1])))
