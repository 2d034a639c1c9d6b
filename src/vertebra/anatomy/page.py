"""A network on one page: figures, what it sees, layer by layer, one number worked through."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.anatomy.anatomy import Anatomy
from vertebra.anatomy.effective import THRESHOLD, EffectiveField
from vertebra.anatomy.layers import Part
from vertebra.anatomy.macs import CONVENTIONS
from vertebra.anatomy.memory import Memory
from vertebra.anatomy.page_tree import COLUMNS, tree_of
from vertebra.anatomy.page_worked import add_worked
from vertebra.anatomy.places import Pair, grid_of, middle_of
from vertebra.anatomy.receptive import ReceptiveField
from vertebra.anatomy.worked import WorkedConvolution
from vertebra.report import (
    Box,
    Frame,
    Page,
    Scale,
    count,
    data_uri,
    heat_picture,
    percent,
    shape,
    si,
)

if TYPE_CHECKING:
    from PIL.Image import Image


def network_page(
    body: Anatomy,
    name: str,
    *,
    picture: Image | None = None,
    memory: Memory | None = None,
    worked: WorkedConvolution | None = None,
    effective: EffectiveField | None = None,
) -> Page:
    """The page of ``vertebra show --html``.

    Args:
        body: the network, taken apart.
        name: what the page is called; any text.
        picture: a photograph to draw receptive fields on, cut and scaled to the input's size; None
            draws them in an empty frame.
        memory, worked, effective: a section each, where given.
    """
    batch = body.input_shape[0] if body.input_shape else 1
    images = "one image" if batch == 1 else f"a batch of {batch} images"
    page = Page(
        title=name,
        lead=f"{images[0].upper()}{images[1:]} of {shape(body.input_shape)} (channels x height x "
        f"width). {len(body.layers)} layers in {len(body.stages)} parts.",
    )
    page.facts(_figures(body, batch))
    _words(page, body)
    _fields(page, body, picture)
    _layers(page, body)
    if effective:
        _effective(page, effective)
    if worked:
        add_worked(page, worked)
    if memory:
        _memory(page, memory)
    return page


def _figures(body: Anatomy, batch: int) -> list[tuple[str, str]]:
    each = "an image" if batch == 1 else f"of {batch} images"
    more = " and more" if body.partial else ""
    backward = body.backward_macs
    return [
        ("parameters", si(body.params)),
        (f"MACs {each}, by {body.convention}", si(body.macs) + more),
        (
            f"backward MACs {each}",
            "not known" if backward is None else si(backward),
        ),
        ("receptive field of the last map", _pixels(body.receptive_field)),
    ]


def _pixels(field: ReceptiveField | None) -> str:
    if field is None:
        return "not known"
    return "global" if field.is_global else f"{field} px"


def _words(page: Page, body: Anatomy) -> None:
    """What the figures mean, and what they leave out."""
    kinds = ", ".join(f"{si(macs)} in {kind}" for kind, macs in body.subtotals.items() if macs)
    page.text(
        f"{count(body.params)} parameters, buffers not among them. MACs are multiply-accumulates, "
        f"each two floating-point operations; by the convention {body.convention} they count "
        f"{CONVENTIONS[body.convention]}. Of the products: {kinds or 'none'}. Backward MACs are "
        f"those of the products of one backward pass. Fingerprint {body.fingerprint}: networks "
        "with the same one compute the same thing, whatever their weights."
    )
    if body.partial:
        page.text(
            f"Not counted, because nothing is known of their arithmetic: {', '.join(body.partial)}."
            " The MACs above are a lower bound."
        )
    if body.misaligned:
        page.text(
            "Branches that look at different middles of the image meet in: "
            f"{', '.join(body.misaligned)}."
        )
    used = sum(layer.params for layer in body.layers)
    if used < body.params:
        page.text(
            f"{count(body.params - used)} parameters have no part in this forward pass, such as "
            "those of auxiliary heads; they are in no row below."
        )


def _fields(page: Page, body: Anatomy, picture: Image | None) -> None:
    """Of each part's map, what its middle position sees of the image."""
    if len(body.input_shape) != 4:
        return
    height, width = body.input_shape[2:]
    source = _scaled(picture, width, height) if picture else None
    frames = [frame for stage in body.stages if (frame := _frame(stage, width, height, source))]
    if not frames:
        return
    page.section(
        "What each part sees",
        "The theoretical receptive field of the middle position of each part's map: no pixel "
        f"outside of the rectangle can change its value. The frame is the input, {height} x "
        f"{width} pixels. Fields that are larger reach its border. Global: attention over all "
        "positions, or a squeeze-and-excitation, lets every position depend on every pixel.",
    )
    page.frames(frames)


def _frame(stage: Part, width: int, height: int, source: str | None) -> Frame | None:
    """None for what is no map, such as the head."""
    field = stage.receptive_field
    grid = grid_of(field)
    if field is None or grid is None:
        return None
    seen = field.box(*middle_of(grid))
    detail = f"{_pixels(field)}; map of {grid[0]} x {grid[1]}"
    if field.is_uniform and not field.is_global:
        steps = field.stride
        detail += f"; neighbours {steps[0] if steps[0] == steps[1] else steps} px apart"
    elif seen and not field.is_global:
        (top, bottom), (left, right) = seen
        detail += f"; the middle one {bottom - top + 1} x {right - left + 1}"
    boxes = (_box(*seen),) if seen else ()
    return Frame(stage.name, detail, width, height, source, boxes)


def _box(rows: Pair, columns: Pair) -> Box:
    """From (first, last) of rows and columns."""
    return Box(columns[0], rows[0], columns[1] - columns[0] + 1, rows[1] - rows[0] + 1)


def _scaled(picture: Image, width: int, height: int) -> str:
    """The photograph's middle at the input's size, as a data URI."""
    buffer = io.BytesIO()
    from PIL import ImageOps

    ImageOps.fit(picture.convert("RGB"), (width, height)).save(buffer, "JPEG", quality=88)
    return data_uri(buffer.getvalue(), "jpeg")


def _layers(page: Page, body: Anatomy) -> None:
    page.section(
        "Layer by layer",
        "In the order in which they run; parts unfold to blocks, blocks to layers. Output: "
        "channels first, as the layer gives it, without the batch. Field: theoretical receptive "
        "field in pixels. Percentages and bars are shares of the whole network's parameters and "
        "MACs; a full bar is 100 %.",
    )
    page.tree("layer", COLUMNS, tree_of(body))


def _effective(page: Page, effective: EffectiveField) -> None:
    where = f"layer {effective.layer}" if effective.layer else "the last map that it gives out"
    row, column = effective.position
    page.section(
        "What it really sees",
        f"The effective receptive field (Luo et al., 2016, arXiv:1701.04128) of the middle "
        f"position (row {row}, column {column}) of {where}: how strongly each pixel changes it, as "
        f"the mean absolute gradient over {effective.samples} noise images (seed {effective.seed})"
        ". With random weights it is that of the architecture, training changes it.",
    )
    field = effective.theoretical
    page.facts(
        [
            ("theoretical field", _pixels(field)),
            ("of it inside the image", f"{count(effective.area)} px"),
            (f"above {percent(THRESHOLD)} of the maximum", f"{count(effective.pixels)} px"),
            ("square of the same area", f"{effective.side:.0f} px wide"),
            ("share of the theoretical field", percent(effective.share, 1)),
        ]
    )
    height, width = effective.values.shape
    # The eye sees little of what is linear: a twentieth, the limit, would be all but clear.
    frame = Frame(
        caption="gradient by pixel",
        detail="colour by the square root, so that the weak show; the rectangle is the theoretical "
        "field",
        width=width,
        height=height,
        source=heat_picture(np.sqrt(effective.values)),
        boxes=(_box(*effective.box),),
        shaded=False,
        scale=Scale("0", "maximum"),
    )
    page.frames([frame], large=True)


def _memory(page: Page, memory: Memory) -> None:
    page.section(
        "Memory",
        f"Of one training step and one inference, batch {memory.batch}, {memory.precision}, "
        f"{memory.optimizer}. Kernels' workspaces and an allocator's reserve come on top.",
    )
    rows: Sequence[tuple[str, int]] = (
        ("training, at the most", memory.training_peak),
        ("inference, at the most", memory.inference_peak),
        ("parameters", memory.parameters),
        ("buffers", memory.buffers),
        ("gradients", memory.gradients),
        ("optimiser's state", memory.optimizer_state),
        ("inputs", memory.inputs),
        ("activations kept for the backward pass", memory.activations),
    )
    page.table(("what", "MiB"), [(what, f"{size / 2**20:,.1f}") for what, size in rows])
