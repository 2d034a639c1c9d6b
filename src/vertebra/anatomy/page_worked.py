"""The section of a page that works one convolution through."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from vertebra.anatomy.worked import Floats, WorkedConvolution
from vertebra.report import (
    Box,
    Frame,
    Grid,
    Page,
    Scale,
    data_uri,
    fixed,
    percent,
    signed_picture,
)

_STRONGEST = 8  # input channels that are told apart
_DIGITS = 6  # about those that float32 holds
_WRITTEN = 25  # products that are written out as a sum; beyond, the grid has them


def add_worked(page: Page, worked: WorkedConvolution) -> None:
    """Add overview, detail and arithmetic of a worked convolution."""
    row, column = worked.position
    page.section(
        f"One number worked through: {worked.layer}",
        f"Output channel {worked.channel} at row {row}, column {column}, from the maps that the "
        "network made of the image below. Rows, columns and channels count from 0.",
    )
    page.facts(_facts(worked))
    _overview(page, worked)
    _detail(page, worked)
    _arithmetic(page, worked)


def _facts(worked: WorkedConvolution) -> list[tuple[str, str]]:
    (top, bottom), (left, right) = worked.padding
    mode = "" if worked.padding_mode == "zeros" else f" ({worked.padding_mode})"
    sides = f"{top}, {bottom}, {left}, {right}"
    return [
        ("kernel", _by(worked.kernel_size)),
        ("stride", _by(worked.stride)),
        ("padding", (str(top) if len({top, bottom, left, right}) == 1 else sides) + mode),
        ("dilation", _by(worked.dilation)),
        ("groups", str(worked.groups)),
        ("input channels in the sum", str(len(worked.channels))),
        ("result", f"{worked.network:.5g}"),
    ]


def _overview(page: Page, worked: WorkedConvolution) -> None:
    row, column = worked.position
    strongest = worked.channels[worked.strongest[0]]
    page.text(
        "Overview: the kernel lies on the marked window of the input map and gives the marked "
        "number of the output map; of the image, that number depends on no more than the marked "
        "part. A window may reach beyond its map, into the padding."
    )
    (top, bottom), (left, right) = worked.window
    page.frames(
        [
            _image(worked),
            _map(
                f"input map, channel {strongest}",
                "of those in the sum the one that contributes most",
                worked.input_map,
                Box(left, top, right - left + 1, bottom - top + 1),
            ),
            _map(
                f"output map, channel {worked.channel}",
                f"row {row}, column {column}",
                worked.output_map,
                Box(column, row, 1, 1),
            ),
        ],
        large=True,
    )


def _image(worked: WorkedConvolution) -> Frame:
    height, width = worked.image.shape[:2]
    buffer = io.BytesIO()
    from PIL import Image

    Image.fromarray(worked.image).save(buffer, "PNG", optimize=True)
    boxes: tuple[Box, ...] = ()
    detail = "what the position sees of it is not known"
    if worked.seen:
        (top, bottom), (left, right) = worked.seen
        boxes = (Box(left, top, right - left + 1, bottom - top + 1),)
        detail = f"sees rows {top} to {bottom}, columns {left} to {right}"
    return Frame("the image", detail, width, height, data_uri(buffer.getvalue()), boxes)


def _map(caption: str, detail: str, values: Floats, box: Box) -> Frame:
    height, width = values.shape
    largest = float(np.abs(values).max(initial=0.0))
    return Frame(
        caption=caption,
        detail=f"{height} x {width} numbers; {detail}",
        width=width,
        height=height,
        source=signed_picture(values),
        boxes=(box,),
        shaded=False,
        scale=Scale(fixed(-largest, largest), fixed(largest, largest), signed=True),
    )


def _detail(page: Page, worked: WorkedConvolution) -> None:
    c = worked.strongest[0]
    channel = worked.channels[c]
    padded = "" if worked.inside.all() else " Dashed numbers are padding."
    page.text(
        f"Detail: input channel {channel}, which contributes most. Number by number, the patch "
        f"under the kernel times the kernel.{padded}"
    )
    (top, _), (left, _) = worked.window
    rows = _ticks(top, worked.kernel_size[0], worked.dilation[0])
    columns = _ticks(left, worked.kernel_size[1], worked.dilation[1])
    outside = (~worked.inside).tolist()
    page.grids(
        [
            Grid(
                "input, by row and column of its map",
                worked.patches[c].tolist(),
                top=columns,
                left=rows,
                outside=outside,
            ),
            Grid("kernel", worked.kernels[c].tolist(), "\u00d7"),
            Grid("products", worked.products[c].tolist(), "=", outside=outside),
        ]
    )
    _contributions(page, worked)


def _contributions(page: Page, worked: WorkedConvolution) -> None:
    """Channels by what they contribute, and the share of it in all that is added and taken away."""
    sums, order = worked.sums, worked.strongest
    largest = float(np.abs(sums).max(initial=0.0))
    moved = float(np.abs(sums).sum()) or 1.0
    rows = [
        (f"channel {worked.channels[c]}", fixed(sums[c], largest, 5), percent(abs(sums[c]) / moved))
        for c in order[:_STRONGEST]
    ]
    rest = order[_STRONGEST:]
    if rest:
        size = float(np.abs(sums[rest]).sum()) / moved
        rows.append((_others(len(rest)), fixed(float(sums[rest].sum()), largest, 5), percent(size)))
    page.table(("input channel", "sum of its products", "share of all, without signs"), rows)


def _arithmetic(page: Page, worked: WorkedConvolution) -> None:
    page.text("Arithmetic: products of one channel, then channels, then the bias.")
    page.code("\n".join([*_products(worked), "", *_channels(worked)]))


def _products(worked: WorkedConvolution) -> list[str]:
    """The sum of the strongest channel's products, one line for each row of the kernel."""
    c = worked.strongest[0]
    products = worked.products[c]
    head = f"channel {worked.channels[c]}"
    largest = float(np.abs(products).max(initial=0.0))
    total = fixed(float(worked.sums[c]), largest, _DIGITS)
    if products.size > _WRITTEN:
        return [f"{head}: the {products.size} products above, added up = {total}"]
    lines = [" ".join(_signed(value, largest) for value in line) for line in products.tolist()]
    return [f"{head}:", *(f"  {line}" for line in lines), f"  = {total}"]


def _channels(worked: WorkedConvolution) -> list[str]:
    """Channels, the rest of them in one, and the bias, each on a line, and their sum."""
    order, sums = worked.strongest, worked.sums
    terms = [(float(sums[c]), f"channel {worked.channels[c]}") for c in order[:_STRONGEST]]
    rest = order[_STRONGEST:]
    if rest:
        terms.append((float(sums[rest].sum()), _others(len(rest))))
    terms.append((worked.bias or 0.0, "bias" if worked.bias is not None else "no bias"))
    largest = max(abs(value) for value, _ in terms)
    lines = [(_signed(value, largest), what) for value, what in terms]
    apart = abs(worked.result - worked.network)
    lines += [
        (f"= {fixed(worked.result, largest, _DIGITS)}", "result, added up in float64"),
        (f"  {fixed(worked.network, largest, _DIGITS)}", f"the network says; {apart:.1e} apart"),
    ]
    width = max(len(figure) for figure, _ in lines)
    return [f"{figure:{width}}  {what}" for figure, what in lines]


def _others(number: int) -> str:
    return f"{number} other channel" + ("" if number == 1 else "s")


def _ticks(first: int, number: int, step: int) -> list[str]:
    return [str(first + place * step).replace("-", "\u2212") for place in range(number)]


def _signed(value: float, largest: float) -> str:
    sign = "\u2212" if value < 0 else "+"
    return f"{sign} {fixed(abs(value), largest, _DIGITS)}"


def _by(two: Sequence[int]) -> str:
    return str(two[0]) if two[0] == two[1] else f"{two[0]} x {two[1]}"
