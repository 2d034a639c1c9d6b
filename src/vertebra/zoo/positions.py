"""Learned positions of patches, fitted to images of another size."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vertebra.core import VertebraError

# Patches in each direction: (down, across).
Grid = tuple[int, int]


def patch_grid(image_size: tuple[int, int], patch: int) -> Grid:
    """How many patches an image of (height, width) has in each direction.

    Raises:
        VertebraError: the image does not divide into patches.
    """
    height, width = image_size
    if height % patch or width % patch:
        below = (max(height // patch, 1) * patch, max(width // patch, 1) * patch)
        above = (-(-height // patch) * patch, -(-width // patch) * patch)
        raise VertebraError(
            f"images of {height}x{width} do not divide into patches of {patch}x{patch}; nearest: "
            + " and ".join(dict.fromkeys("{}x{}".format(*size) for size in (below, above)))
        )
    return height // patch, width // patch


def resize_positions(table: Tensor, old: Grid, new: Grid) -> Tensor:
    """Interpolate a position table to another grid of patches (section 3.2).

    Bicubic, with a wider kernel where the grid shrinks; the class token's entry, the first, stays.
    So does timm's ``resample_abs_pos_embed``. torchvision's ``interpolate_embeddings`` is another
    function: bicubic with corners aligned and a = -0.75 instead of -0.5, the kernel never widened.
    The authors' code interpolates linearly, corners aligned.

    Shapes: (1, 1 + h * w, dim) -> (1, 1 + h' * w', dim), computed in float32 at least.
    """
    if old == new:
        return table
    token, patches = table[:, :1], table[:, 1:]
    maps = patches.transpose(1, 2).reshape(1, -1, *old)
    maps = maps.to(torch.promote_types(table.dtype, torch.float32))
    resized = F.interpolate(maps, new, mode="bicubic", antialias=True)
    return torch.cat([token, resized.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)
