"""A network on one page: figures, what it sees, layer by layer, one number worked through."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from vertebra.anatomy.anatomy import Anatomy
from vertebra.anatomy.effective import THRESHOLD, EffectiveField
from vertebra.anatomy.intensity import Bounds
from vertebra.anatomy.layers import Part
from vertebra.anatomy.macs import CONVENTIONS
from vertebra.anatomy.memory import Memory
from vertebra.anatomy.page_costs import add_memory, add_roofline
from vertebra.anatomy.page_tree import COLUMNS, tree_of
from vertebra.anatomy.page_worked import add_worked
from vertebra.anatomy.places import Pair, grid_of, middle_of
from vertebra.anatomy.receptive import ReceptiveField
from vertebra.anatomy.worked import WorkedConvolution
from vertebra.machine import Roofline
from vertebra.report import (
    Box,
    Frame,
    Page,
    Scale,
    count,
    data_uri,
    extents,
    heat_picture,
    percent,
    plural,
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
    largest: tuple[str, int | None] | None = None,
    roofline: tuple[Roofline, Bounds] | None = None,
    worked: WorkedConvolution | None = None,
    effective: EffectiveField | None = None,
) -> Page:
    """The page of ``vertebra show --html``.

    Args:
        body: the network, taken apart.
        name: what the page is called; any text.
        picture: a photograph to draw receptive fields on, cut and scaled to the input's size; None
            draws them in an empty frame.
        memory, roofline, worked, effective: a section each, where given.
        largest: a memory, as "16GiB", and the largest batch that trains in it; with ``memory``.
    """
    parts = f"{plural(len(body.layers), 'layer')} in {plural(len(body.stages), 'part')}"
    page = Page(title=name, lead=f"{_fed(body)}. {parts[0].upper()}{parts[1:]}.")
    page.facts(_figures(body))
    _words(page, body)
    _fields(page, body, picture)
    _layers(page, body)
    if effective:
        _effective(page, effective)
    if worked:
        add_worked(page, worked)
    if memory:
        add_memory(page, memory, largest)
    if roofline:
        add_roofline(page, *roofline)
    return page


def _is_image(body: Anatomy) -> bool:
    return len(body.input_shape) == 4


def _fed(body: Anatomy) -> str:
    """What the figures are for."""
    shapes = [body.per_image(body.graph.values[value].shape) for value in body.graph.inputs]
    batch = body.input_shape[0] if body.input_shape else 1
    what = "image" if _is_image(body) and len(shapes) == 1 else "input"
    each = " and ".join(extents(one) for one in shapes) or "nothing"
    axes = " (channels x height x width)" if what == "image" else ""
    return (f"One {what} of " if batch == 1 else f"A batch of {batch} {what}s of ") + each + axes


def _figures(body: Anatomy) -> list[tuple[str, str]]:
    batch = body.input_shape[0] if body.input_shape else 1
    what = "image" if _is_image(body) else "input"
    each = f"an {what}" if batch == 1 else f"of {batch} {what}s"
    least = "at least " if body.partial else ""
    backward = body.backward_macs
    figures = [
        ("parameters", si(body.params)),
        (f"MACs {each}, by {body.convention}", least + si(body.macs)),
        (f"backward MACs {each}", "not known" if backward is None else si(backward)),
    ]
    if _is_image(body):
        figures.append(("receptive field of the last map", _pixels(body.receptive_field)))
    return figures


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
    if _is_image(body) and body.unknown_field:
        page.text(f"The receptive field of the last map is {body.unknown_field}.")
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
    if not _is_image(body):
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
            ("so effective, of the theoretical field", percent(effective.share, 1)),
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
