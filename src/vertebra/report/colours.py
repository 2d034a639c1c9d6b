"""Arrays as small pictures whose zero is transparent, so that they fit a light and a dark page."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from vertebra.report.frames import data_uri
from vertebra.report.plots import COLOURS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The style sheet's --minus and --plus are these, too.
MINUS, PLUS = COLOURS[0], COLOURS[1]


def signed_picture(values: NDArray[np.floating]) -> str:
    """(H, W) numbers as a data URI: one colour below zero, another above, clear at zero.

    The number that is largest without its sign has the full colour.
    """
    # Imported here as in the plots: most commands draw nothing.
    import numpy as np

    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    colours = np.where(values[..., None] < 0, _rgb(MINUS), _rgb(PLUS))
    return _picture(colours, np.abs(values) / largest)


def heat_picture(values: NDArray[np.floating]) -> str:
    """(H, W) numbers, 0 to 1, as a data URI: clear at 0, one full colour at 1."""
    import numpy as np

    colours = np.broadcast_to(_rgb(PLUS), (*values.shape, 3))
    return _picture(colours, np.clip(values, 0, 1))


def _rgb(colour: str) -> NDArray[np.uint8]:
    import numpy as np

    return np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)], dtype=np.uint8)


def _picture(colours: NDArray[np.uint8], opacity: NDArray[np.floating]) -> str:
    import numpy as np
    from PIL import Image

    alpha = np.rint(255 * opacity).astype(np.uint8)[..., None]
    pixels = np.concatenate([colours, alpha], axis=-1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue())
