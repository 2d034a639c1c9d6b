"""The convention "full" against counts by hand, and what no convention has a rule for.

The numbers stand as products of what is seen in the layer, none from our own code: positions times
channels times what one element costs. A multiply-accumulate is one, and so is every other operation
on a number.
"""

from __future__ import annotations

import pytest
import torch
import torchvision
from counting import Run, WithoutGradients, numbers
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import dissect

MAP, SEQUENCE, VOLUME = (2, 4, 8, 6), (2, 4, 9), (2, 4, 5, 6, 7)
ELEMENTS = 2 * 4 * 8 * 6  # of MAP
Case = tuple[nn.Module, tuple[int, ...], int]


def _upsample(mode: str) -> nn.Module:
    return nn.Upsample(scale_factor=2, mode=mode)


def _sampled(mode: str, *shape: int) -> nn.Module:
    def run(net: Run, x: Tensor) -> Tensor:
        return F.grid_sample(x, net.grid, mode=mode, align_corners=False)

    return Run(run, grid=numbers(*shape))


def _attention(masked: bool) -> nn.Module:
    """Three heads of width 8: five queries meet seven keys."""

    def run(net: Run, x: Tensor) -> Tensor:
        q, kv = x[:, :, :5], x[:, :, 5:]
        # A parameter, whether it learns or not, would make PyTorch run this unfused.
        mask = torch.zeros(5, 7) if masked else None
        return F.scaled_dot_product_attention(q, kv, kv, attn_mask=mask)

    return Run(run)


SCORES = 2 * 3 * 5 * 7
PRODUCTS: dict[str, Case] = {
    # Each of 6 maps of 4 x 3 sums over 4 channels and 3 x 3 places, and adds its bias.
    "convolution": (
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        MAP,
        2 * 6 * 4 * 3 * (4 * 9) + 2 * 6 * 4 * 3,
    ),
    "without bias": (nn.Conv2d(4, 6, 3, bias=False), MAP, 2 * 6 * 6 * 4 * (4 * 9)),
    "in groups": (nn.Conv2d(4, 8, 3, groups=4), MAP, 2 * 8 * 6 * 4 * 9 + 2 * 8 * 6 * 4),
    # Each number that goes in is multiplied with 6 kernels of 9; the bias lies on what comes out.
    "transposed": (
        nn.ConvTranspose2d(4, 6, 3, stride=2),
        MAP,
        ELEMENTS * 6 * 9 + 2 * 6 * 17 * 13,
    ),
    "linear": (nn.Linear(6, 5), MAP, 2 * 4 * 8 * 5 * 6 + 2 * 4 * 8 * 5),
    "linear without bias": (nn.Linear(6, 5, bias=False), MAP, 2 * 4 * 8 * 5 * 6),
    # T_q T_k d twice; then the queries are scaled and each score goes through the softmax.
    "attention": (_attention(False), (2, 3, 12, 8), 2 * SCORES * 8 + 2 * 3 * 5 * 8 + 5 * SCORES),
    "attention with a mask": (
        _attention(True),
        (2, 3, 12, 8),
        2 * SCORES * 8 + 2 * 3 * 5 * 8 + 6 * SCORES,
    ),
    # A direction of 6 x 4 x 9 numbers is measured and scaled before the convolution with it.
    "weight norm": (
        nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3, bias=False)),
        MAP,
        2 * 6 * 6 * 4 * (4 * 9) + 2 * 6 * 4 * 9,
    ),
}

# What one element costs, by what the function is made of.
ACTIVATIONS: dict[str, tuple[nn.Module, int]] = {
    "relu": (nn.ReLU(), 1),
    "relu in place": (Run(lambda s, x: F.relu_(x.clone())), 1),
    "leaky relu": (nn.LeakyReLU(), 2),
    "relu6": (nn.ReLU6(), 2),
    "prelu": (nn.PReLU(), 2),
    "random relu": (nn.RReLU(), 2),
    "hard tanh": (nn.Hardtanh(), 2),
    "threshold": (nn.Threshold(0.1, 0.0), 2),
    "tanh": (nn.Tanh(), 1),
    "tanh shrinkage": (nn.Tanhshrink(), 1 + 1),
    "hard shrinkage": (nn.Hardshrink(), 1),
    "soft shrinkage": (nn.Softshrink(), 2),
    "soft sign": (nn.Softsign(), 1 + 1 + 1),
    "sigmoid": (nn.Sigmoid(), 4),
    "log sigmoid": (nn.LogSigmoid(), 3),
    "hard sigmoid": (nn.Hardsigmoid(), 4),
    "silu": (nn.SiLU(), 5),
    "hard swish": (nn.Hardswish(), 5),
    "hard swish in place": (Run(lambda s, x: F.hardswish(x.clone(), inplace=True)), 5),
    "gelu": (nn.GELU(), 5),
    "gelu by tanh": (nn.GELU(approximate="tanh"), 5),
    "mish": (nn.Mish(), 5),
    "softplus": (nn.Softplus(), 3),
    "elu": (nn.ELU(), 3),
    "celu": (nn.CELU(), 3),
    "selu": (nn.SELU(), 3),
    "softmax": (nn.Softmax(1), 5),
    "log softmax": (nn.LogSoftmax(1), 5),
    "softmin": (nn.Softmin(1), 1 + 5),
    "identity": (nn.Identity(), 0),
    "dropout": (nn.Dropout(), 0),
    "dropout of channels": (nn.Dropout2d(), 0),
}

NORMS: dict[str, Case] = {
    # The mean is subtracted; scale, shift and deviation are one constant each, a multiply-add.
    "batch norm": (nn.BatchNorm2d(4), MAP, 2 * ELEMENTS),
    "batch norm, plain": (nn.BatchNorm2d(4, affine=False), MAP, 2 * ELEMENTS),
    # A sum for the mean; difference and square for the variance; a product; scale and shift.
    "batch norm that measures": (
        nn.BatchNorm2d(4, track_running_stats=False),
        MAP,
        5 * ELEMENTS,
    ),
    "layer norm": (nn.LayerNorm(6), MAP, 5 * ELEMENTS),
    "layer norm, plain": (nn.LayerNorm(6, elementwise_affine=False), MAP, 4 * ELEMENTS),
    "group norm": (nn.GroupNorm(2, 4), MAP, 5 * ELEMENTS),
    "group norm, plain": (nn.GroupNorm(2, 4, affine=False), MAP, 4 * ELEMENTS),
    "instance norm": (nn.InstanceNorm2d(4, affine=True), MAP, 5 * ELEMENTS),
    "instance norm, plain": (nn.InstanceNorm2d(4), MAP, 4 * ELEMENTS),
    "instance norm that keeps": (
        nn.InstanceNorm2d(4, track_running_stats=True),
        MAP,
        2 * ELEMENTS,
    ),
    # Square, mean, quotient, scale of each; an epsilon and a root for each of 2 x 4 x 8 rows.
    "root mean square": (nn.RMSNorm(6), MAP, 4 * ELEMENTS + 2 * 2 * 4 * 8),
}

POOLS: dict[str, Case] = {
    "maximum": (nn.MaxPool2d(3, stride=2, padding=1), MAP, 2 * 4 * 4 * 3 * (9 - 1)),
    "maximum over 2 x 3": (nn.MaxPool2d((2, 3)), MAP, 2 * 4 * 4 * 2 * (6 - 1)),
    "maximum of a sequence": (nn.MaxPool1d(3), SEQUENCE, 2 * 4 * 3 * (3 - 1)),
    "maximum of a volume": (nn.MaxPool3d(2), VOLUME, 2 * 4 * 2 * 3 * 3 * (8 - 1)),
    "mean": (nn.AvgPool2d(2), MAP, 2 * 4 * 4 * 3 * 4),
    "mean of a sequence": (nn.AvgPool1d(3), SEQUENCE, 2 * 4 * 3 * 3),
    "mean of a volume": (nn.AvgPool3d(2), VOLUME, 2 * 4 * 2 * 3 * 3 * 8),
    "mean over all": (nn.AdaptiveAvgPool2d(1), MAP, ELEMENTS),
    "mean over parts": (nn.AdaptiveAvgPool2d((4, 2)), MAP, ELEMENTS),
    "mean over all of a sequence": (nn.AdaptiveAvgPool1d(1), SEQUENCE, 2 * 4 * 9),
    "maximum over all": (nn.AdaptiveMaxPool2d(1), MAP, ELEMENTS),
    "mean by hand": (Run(lambda s, x: x.mean((2, 3))), MAP, ELEMENTS),
    "variance": (Run(lambda s, x: x.var((2, 3))), MAP, 3 * ELEMENTS),
    # The place of each maximum is known: nothing but zeros and copies.
    "undone": (
        Run(lambda s, x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)),
        MAP,
        2 * 4 * 4 * 3 * (4 - 1),
    ),
}

RESIZED: dict[str, Case] = {
    "nearest": (_upsample("nearest"), MAP, 0),
    "nearest, exact": (_upsample("nearest-exact"), MAP, 0),
    "linear": (_upsample("linear"), SEQUENCE, 2 * (2 * 4 * 18)),
    "bilinear": (_upsample("bilinear"), MAP, 4 * (2 * 4 * 16 * 12)),
    "trilinear": (_upsample("trilinear"), VOLUME, 8 * (2 * 4 * 10 * 12 * 14)),
    "bicubic": (_upsample("bicubic"), MAP, 16 * (2 * 4 * 16 * 12)),
    "at points": (_sampled("bilinear", 2, 5, 3, 2), MAP, 4 * (2 * 4 * 5 * 3)),
    "at nearest points": (_sampled("nearest", 2, 5, 3, 2), MAP, 0),
    "at points, cubic": (_sampled("bicubic", 2, 5, 3, 2), MAP, 16 * (2 * 4 * 5 * 3)),
    "in a volume": (_sampled("bilinear", 2, 2, 5, 3, 3), VOLUME, 8 * (2 * 4 * 2 * 5 * 3)),
    "pixel shuffle": (nn.PixelShuffle(2), MAP, 0),
}

ARITHMETIC: dict[str, Case] = {
    "residual": (Run(lambda s, x: x + x), MAP, ELEMENTS),
    "residual in place": (Run(lambda s, x: x.clone().add_(x)), MAP, ELEMENTS),
    # 4 numbers over 8 x 6 places each.
    "gate of channels": (Run(lambda s, x: x * s.w, w=numbers(4, 1, 1)), MAP, ELEMENTS),
    "gated half": (nn.GLU(1), MAP, 5 * (2 * 2 * 8 * 6)),
    "condition": (Run(lambda s, x: torch.where(x > 0, x, 0.0)), MAP, ELEMENTS),
    "square root of a square": (Run(lambda s, x: (x**2).sqrt()), MAP, 2 * ELEMENTS),
    "trigonometry": (Run(lambda s, x: x.sin() + x.cos()), MAP, 3 * ELEMENTS),
    "joined and turned": (Run(lambda s, x: torch.cat([x, x], 1).permute(0, 2, 3, 1)), MAP, 0),
    "split": (Run(lambda s, x: x.unsafe_split(2, 1)[0]), MAP, 0),
    "padding": (nn.ZeroPad2d(1), MAP, 0),
    "reflected": (nn.ReflectionPad2d(1), MAP, 0),
    "repeated edge of a sequence": (nn.ReplicationPad1d(1), SEQUENCE, 0),
    "repeated edge of a volume": (nn.ReplicationPad3d(1), VOLUME, 0),
    "windows": (nn.Unfold(3), MAP, 0),
}


@pytest.mark.parametrize(
    ("layer", "shape", "by_hand"),
    [*PRODUCTS.values(), *NORMS.values(), *POOLS.values(), *RESIZED.values(), *ARITHMETIC.values()],
    ids=[*PRODUCTS, *NORMS, *(f"pool: {name}" for name in POOLS), *RESIZED, *ARITHMETIC],
)
def test_a_layer_by_hand(layer: nn.Module, shape: tuple[int, ...], by_hand: int) -> None:
    body = dissect(layer, inputs=(shape,), convention="full")
    assert body.partial == ()
    assert body.macs == by_hand


@pytest.mark.parametrize(("layer", "each"), ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_an_activation_by_hand(layer: nn.Module, each: int) -> None:
    body = dissect(layer, inputs=(MAP,), convention="full")
    assert body.partial == ()
    assert body.macs == each * ELEMENTS
    # It is no product: torchvision's convention passes it over, and knows that it may.
    plain = dissect(layer, inputs=(MAP,))
    assert (plain.macs, plain.partial) == (0, ())


def test_tokens_are_looked_up_for_nothing() -> None:
    tokens = torch.zeros(2, 7, dtype=torch.int64)
    body = dissect(nn.Embedding(10, 4), inputs=(tokens,), convention="full")
    assert (body.macs, body.partial) == (0, ())


class Small(nn.Module):
    """A convolution, a block with a shortcut and a gate, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.gate = nn.Conv2d(2, 2, 1)
        self.drop = nn.Dropout()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x)))
        x = x + x * self.gate(F.adaptive_avg_pool2d(x, 1)).sigmoid()
        x = F.max_pool2d(x, 2)
        return self.head(self.drop(x).flatten(1)).softmax(-1)


def test_a_whole_network_by_hand() -> None:
    """Two maps of 4 x 4, then 2 x 2, then three classes."""
    body = dissect(Small(), (1, 4, 4), convention="full")
    steps = [
        32 * 9 + 32,  # convolution and bias
        32 * 2,  # batch norm
        32,  # ReLU
        32,  # mean over each map
        2 * 2 + 2,  # gate: two numbers from two, and a bias
        2 * 4,  # sigmoid
        32 + 32,  # gate times map, and the shortcut
        8 * 3,  # maximum of four
        3 * 8 + 3,  # linear layer and bias
        3 * 5,  # softmax
    ]
    assert body.partial == ()
    assert body.macs == sum(steps) == 592
    assert dissect(Small(), (1, 4, 4)).macs == 32 * 9 + 2 * 2 + 3 * 8
    # Batch norm, mean and no more: what fvcore adds.
    assert dissect(Small(), (1, 4, 4), "fvcore").macs == 32 * 9 + 2 * 2 + 3 * 8 + 32 * 2 + 32


# What has no rule is named.


def _deformed(net: Run, x: Tensor) -> Tensor:
    offsets = x.new_zeros(2, 18, 6, 4)
    return torchvision.ops.deform_conv2d(x, offsets, net.w)


# Each may hold products of numbers, so that no convention can pass it over.
NEVER_COUNTED: dict[str, tuple[nn.Module, str]] = {
    "svd": (Run(lambda s, x: torch.linalg.svd(x)[1]), "svd"),
    "inverse": (Run(lambda s, x: torch.linalg.inv(x[..., :6, :])), "inv"),
    "fourier": (Run(lambda s, x: torch.fft.rfft2(x).abs()), "fft"),
    "distances": (Run(lambda s, x: torch.cdist(x, x)), "cdist"),
    "bilinear form": (Run(lambda s, x: F.bilinear(x, x, s.w), w=numbers(3, 6, 6)), "trilinear"),
    "deformable": (Run(_deformed, w=numbers(4, 4, 3, 3)), "torchvision.deform_conv2d"),
}
# No product, but as many comparisons as the numbers ask for; or a width that hangs on the sizes.
WITHOUT_PRODUCTS: dict[str, tuple[nn.Module, str]] = {
    "sort": (Run(lambda s, x: torch.sort(x)[0]), "aten.sort"),
    "argsort": (Run(lambda s, x: torch.argsort(x)), "aten.sort"),
    "top": (Run(lambda s, x: x.topk(2)[0]), "aten.topk"),
    "median": (Run(lambda s, x: x.median(1)[0]), "aten.median"),
    "smoothed": (
        Run(lambda s, x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)),
        "aten._upsample_bilinear2d_aa",
    ),
}


@pytest.mark.parametrize("convention", ["torchvision", "fvcore", "full"])
@pytest.mark.parametrize(("net", "name"), NEVER_COUNTED.values(), ids=NEVER_COUNTED)
def test_what_may_hold_products_is_named(net: nn.Module, name: str, convention: str) -> None:
    named = dissect(net, inputs=(MAP,), convention=convention).partial
    assert any(name in one for one in named)


@pytest.mark.parametrize(("net", "name"), WITHOUT_PRODUCTS.values(), ids=WITHOUT_PRODUCTS)
def test_what_holds_no_product_is_named_where_all_is_counted(net: nn.Module, name: str) -> None:
    assert dissect(net, inputs=(MAP,), convention="full").partial == (name,)
    for convention in ("torchvision", "fvcore"):
        body = dissect(net, inputs=(MAP,), convention=convention)
        assert (body.macs, body.partial) == (0, ())


def test_attention_in_one_operation_is_priced_by_its_products_only() -> None:
    """Without gradients nn.MultiheadAttention is one kernel, whose other work has no rule."""
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    net = WithoutGradients(Run(lambda s, x: s.inner(x, x, x)[0], inner=attention))
    full = dissect(net, inputs=((2, 5, 8),), convention="full")
    assert full.partial == ("aten._native_multi_head_attention",)
    assert dissect(net, inputs=((2, 5, 8),)).partial == ()


def test_one_operation_without_rule_makes_the_whole_partial() -> None:
    """The rest is counted and the total says what it lacks."""
    net = nn.Sequential(nn.Linear(6, 5), Run(lambda s, x: torch.sort(x)[0]), nn.ReLU())
    body = dissect(net, inputs=(MAP,), convention="full")
    assert body.partial == ("aten.sort",)
    assert body.macs == 64 * 5 * 6 + 64 * 5 + 64 * 5
    assert body.to_dict()["partial"] == ["aten.sort"]
