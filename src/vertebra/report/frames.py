"""Pictures in whose own pixels something is marked."""

from __future__ import annotations

import base64
from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle in the pixels of its picture; it may reach beyond the border."""

    left: float
    top: float
    width: float
    height: float

    def within(self, width: int, height: int) -> Box:
        """The part of it that lies in a picture of this size."""
        left, top = min(max(self.left, 0), width), min(max(self.top, 0), height)
        right = min(max(self.left + self.width, left), width)
        bottom = min(max(self.top + self.height, top), height)
        return Box(left, top, right - left, bottom - top)


@dataclass(frozen=True)
class Scale:
    """What the colours of a picture mean: the numbers at both ends.

    ``signed`` goes from one colour over nothing to another, otherwise from nothing to one colour.
    """

    low: str
    high: str
    signed: bool = False


@dataclass(frozen=True)
class Drawn:
    """A picture as it is kept, once on a page however many frames show it.

    ``crisp`` pictures show their pixels where they are enlarged.
    """

    source: str
    width: int
    height: int
    crisp: bool


@dataclass(frozen=True)
class Frame:
    """A picture of ``width`` x ``height`` pixels with a rectangle, or several, drawn on it.

    ``source`` is a data URI, None an empty frame. What lies outside of the first box is shaded
    where ``shaded``.
    """

    caption: str
    detail: str
    width: int
    height: int
    source: str | None = None
    boxes: tuple[Box, ...] = ()
    shaded: bool = True
    scale: Scale | None = None

    @property
    def picture(self) -> Drawn | None:
        """What it shows below the marks; a picture with a scale is one of numbers, and crisp."""
        if self.source is None:
            return None
        return Drawn(self.source, self.width, self.height, self.scale is not None)

    @property
    def marks(self) -> list[Box]:
        """The boxes as far as they lie in the picture."""
        return [box.within(self.width, self.height) for box in self.boxes]

    @property
    def outside(self) -> str:
        """An SVG path, by the even-odd rule, around the first box."""
        box = self.marks[0]
        hole = f"M{box.left:g} {box.top:g}h{box.width:g}v{box.height:g}h{-box.width:g}z"
        return f"M0 0H{self.width}V{self.height}H0z{hole}"


def data_uri(encoded: bytes, kind: str = "png") -> str:
    """An encoded picture as an address that holds the picture itself."""
    return f"data:image/{kind};base64," + base64.b64encode(encoded).decode()
