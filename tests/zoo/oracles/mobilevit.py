"""MobileViTs in timm."""

from collections.abc import Callable

from parity import Oracle
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.nn import Backbone

MAPS = [f"stages.{stage}" for stage in range(5)]

# Of 97 pixels MobileViT blocks see maps of 13, 7 and 4: the first two are interpolated.
ORACLES = [
    Oracle(name, "timm", name, MAPS, size)
    for name in ("mobilevit_xxs", "mobilevit_xs", "mobilevit_s")
    for size in (97, 64)
]


class _Then(nn.Module):
    """A module and a function of what it gives."""

    def __init__(self, module: nn.Module, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.module(x))


class _Within(nn.Module):
    """A module on sequences (N, 4, T, C) rearranged into others, and back."""

    def __init__(self, module: nn.Module, pixels_only: bool) -> None:
        super().__init__()
        self.module, self.pixels_only = module, pixels_only

    def forward(self, x: Tensor) -> Tensor:
        by_patch = x.unflatten(0, (-1, 4)).transpose(1, 2)
        groups = by_patch.flatten(0, 1) if self.pixels_only else by_patch.flatten(1, 2)
        out: Tensor = self.module(groups).reshape(by_patch.shape).transpose(1, 2)
        return out.reshape(x.shape)


def _attention_within_patches(net: Backbone) -> None:
    block = net.stages[2][1]
    block.transformer = _Within(block.transformer, pixels_only=True)


def _attention_over_all_pixels(net: Backbone) -> None:
    block = net.stages[2][1]
    block.transformer = _Within(block.transformer, pixels_only=False)


def _padded(net: Backbone) -> None:
    """Zeros up to a whole patch, where the authors interpolate."""
    block = net.stages[2][1]
    block.lift = _Then(block.lift, lambda x: F.pad(x, (0, 1, 0, 1)))


def _corners_aligned(net: Backbone) -> None:
    block = net.stages[3][1]
    block.lift = _Then(
        block.lift, lambda x: F.interpolate(x, (8, 8), mode="bilinear", align_corners=True)
    )


def _eps(net: Backbone) -> None:
    net.stages[3][1].transformer[2].norm2.eps = 1e-6


def _gelu(net: Backbone) -> None:
    net.stages[4][1].transformer[0].mlp.act = nn.GELU()


def _heads(net: Backbone) -> None:
    net.stages[2][1].transformer[1].attention.heads = 8


def _no_norm_behind_the_transformer(net: Backbone) -> None:
    net.stages[3][1].norm = nn.Identity()


def _input_behind(net: Backbone) -> None:
    """The fusing convolution takes the two halves in the other order."""
    weight = net.stages[4][1].fuse.conv.weight
    weight.data = weight.data.roll(weight.shape[0], dims=1)


def _no_shortcut(net: Backbone) -> None:
    net.stages[1][1].residual = False


def _activation_after_the_bottleneck(net: Backbone) -> None:
    net.stages[1][1].project.act = nn.SiLU()


TEETH = (
    "mobilevit_xxs",
    [
        _attention_within_patches,
        _attention_over_all_pixels,
        _padded,
        _corners_aligned,
        _eps,
        _gelu,
        _heads,
        _no_norm_behind_the_transformer,
        _input_behind,
        _no_shortcut,
        _activation_after_the_bottleneck,
    ],
)
