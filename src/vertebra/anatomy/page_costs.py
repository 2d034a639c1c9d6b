"""What a network needs and what it waits for, as sections of its page."""

from __future__ import annotations

from vertebra.anatomy.intensity import Bound, Bounds
from vertebra.anatomy.memory import Memory
from vertebra.machine import Roofline
from vertebra.report import Page, percent, plural, si, size

_LONGEST = 12  # layers listed


def add_memory(page: Page, memory: Memory, largest: tuple[str, int | None] | None) -> None:
    """One training step and one inference, and the largest batch that trains in a memory."""
    page.section(
        "Memory",
        f"Of one training step and one inference, batch {memory.batch}, {memory.precision}, "
        f"{memory.optimizer}. Kernels' workspaces and an allocator's reserve come on top.",
    )
    rows = [
        ("training, at the most", size(memory.training_peak)),
        ("inference, at the most", size(memory.inference_peak)),
        ("parameters", size(memory.parameters)),
        ("buffers", size(memory.buffers)),
        ("gradients", size(memory.gradients)),
        ("optimiser's state", size(memory.optimizer_state)),
        ("inputs", size(memory.inputs)),
        ("activations kept for the backward pass", size(memory.activations)),
    ]
    if largest:
        limit, images = largest
        fewer = "fewer than " if memory.partial and images else ""
        rows.insert(0, (f"largest batch that trains in {limit}", f"{fewer}{images or 'none'}"))
    page.table(("what", "size"), rows)
    if memory.partial:
        named = ", ".join(memory.partial)
        page.text(f"More is kept by {named}, of a size that only their kernels know.")


def add_roofline(page: Page, roof: Roofline, under: Bounds) -> None:
    """Which layers wait for memory, which for arithmetic, and how long at the least."""
    ridge = roof.ridge(under.precision)
    waiting = sum(layer.by == "memory" for layer in under.layers)
    page.section(
        "Memory or arithmetic",
        f"By the roofline of the machine that wrote this page, {under.precision}, "
        f"{plural(roof.threads, 'thread')}: {si(roof.macs_per_second[under.precision])}MAC/s in "
        f"large products, {si(roof.bytes_per_second)}B/s in a copy. A layer of fewer than "
        f"{ridge:.1f} MACs a byte waits for memory. Every map is taken to go through memory; "
        "caches and fused kernels are faster, and no kernel reaches both ceilings.",
    )
    page.facts(
        [
            ("one forward, layer by layer", f"{1e3 * under.seconds:.3g} ms"),
            ("layers that wait for memory", f"{waiting} of {len(under.layers)}"),
            ("their share of the time", percent(under.memory_share, 0)),
        ]
    )
    longest = sorted(under.layers, key=lambda layer: -layer.seconds)[:_LONGEST]
    page.table(
        ("longest layers", "kind", "waits for", "arithmetic ms", "traffic ms", "of the time"),
        [_row(layer, under) for layer in longest],
        text=3,
    )


def _row(layer: Bound, under: Bounds) -> tuple[str, ...]:
    times = (f"{1e3 * layer.arithmetic:.3f}", f"{1e3 * layer.memory:.3f}")
    share = percent(layer.seconds / under.seconds if under.seconds else None, 1)
    return (layer.name, layer.kind, layer.by, *times, share)
