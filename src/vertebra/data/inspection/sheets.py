"""Pictures for the page: contact sheets, pairs, single ones."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from vertebra.data.dataset import ImageDataset
from vertebra.data.decode import DecodeError
from vertebra.data.photographs import picture
from vertebra.report import Frame, Picture, data_uri

SIDE = 96  # pixels of a thumbnail
COLUMNS, ROWS = 8, 3
_GAP = 4
_PAPER = (245, 247, 250)


def thumbnail(dataset: ImageDataset, index: int, side: int = SIDE) -> Image.Image:
    """Image ``index`` of the source within a square; crossed out where it cannot be decoded."""
    tile = Image.new("RGB", (side, side), _PAPER)
    try:
        drawn = picture(dataset.source.read(index, dataset.channels))
    except DecodeError:
        ImageDraw.Draw(tile).line((side // 4, side // 4, 3 * side // 4, 3 * side // 4), "#999", 2)
        ImageDraw.Draw(tile).line((3 * side // 4, side // 4, side // 4, 3 * side // 4), "#999", 2)
        return tile
    scale = side / max(drawn.size)
    size = tuple(max(round(length * scale), 1) for length in drawn.size)
    # Small ones keep their pixels: blurred, they would look like something else.
    way = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    drawn = drawn.resize((size[0], size[1]), way)
    tile.paste(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
    return tile


def contact_sheet(
    dataset: ImageDataset, indices: Sequence[int], caption: str, detail: str
) -> Frame:
    """Thumbnails in rows of eight, as one JPEG."""
    step = SIDE + _GAP
    rows = -(-len(indices) // COLUMNS)
    width, height = COLUMNS * step - _GAP, rows * step - _GAP
    sheet = Image.new("RGB", (width, height), "white")
    for place, index in enumerate(indices):
        row, column = divmod(place, COLUMNS)
        sheet.paste(thumbnail(dataset, index), (column * step, row * step))
    encoded = io.BytesIO()
    sheet.save(encoded, "JPEG", quality=85)
    return Frame(caption, detail, width, height, data_uri(encoded.getvalue(), "jpeg"))


def side_by_side(
    dataset: ImageDataset, indices: Sequence[int], caption: str, detail: str
) -> Picture:
    """One picture, or two beside each other, with words below."""
    sheet = Image.new("RGB", (len(indices) * (SIDE + _GAP) - _GAP, SIDE), "white")
    for place, index in enumerate(indices):
        sheet.paste(thumbnail(dataset, index), (place * (SIDE + _GAP), 0))
    encoded = io.BytesIO()
    sheet.save(encoded, "PNG", optimize=True)
    return Picture(encoded.getvalue(), caption, detail)
