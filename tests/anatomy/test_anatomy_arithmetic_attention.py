"""Attention and transformers against torchvision's, timm's and PyTorch's own."""

from fractions import Fraction

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_counts import counted, macs_of
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torchvision.models.swin_transformer import ShiftedWindowAttention
from torchvision.models.vision_transformer import EncoderBlock

from vertebra.anatomy.arithmetic import (
    attention_macs,
    attention_params,
    break_even_tokens,
    conv_macs,
    conv_params,
    image_tokens,
    layer_norm_params,
    linear_macs,
    linear_params,
    transformer_block_macs,
    transformer_block_params,
    windowed_attention_macs,
)

some = settings(max_examples=50)
small = st.integers(1, 4)
sizes = st.integers(1, 16)


@some
@given(small, st.integers(1, 8), st.booleans())
def test_attention_parameters(heads: int, per_head: int, bias: bool) -> None:
    width = heads * per_head
    theirs = nn.MultiheadAttention(width, heads, bias=bias)
    assert attention_params(width, heads, bias=bias) == counted(theirs)


@some
@given(small, st.integers(1, 6), st.sampled_from([1, 2, 4, 2.5, Fraction(8, 3)]))
def test_transformer_block(heads: int, per_head: int, ratio: float | Fraction) -> None:
    width, tokens = heads * per_head * 6, 7
    block = EncoderBlock(heads, width, int(width * ratio), 0.0, 0.0)
    assert transformer_block_params(width, heads, mlp_ratio=ratio) == counted(block)
    ours = transformer_block_macs(tokens, width, heads, mlp_ratio=ratio)
    assert ours.total == macs_of(block, torch.ones(1, tokens, width))
    assert ours.mlp == macs_of(block.mlp, torch.ones(1, tokens, width))


@some
@given(small, st.integers(1, 8), sizes)
def test_attention_macs(heads: int, per_head: int, tokens: int) -> None:
    width = heads * per_head
    x = torch.ones(1, tokens, width)
    ours = attention_macs(tokens, width, heads)
    layer = nn.MultiheadAttention(width, heads, batch_first=True)
    assert ours.total == macs_of(layer, x, x, x)
    assert ours.projections == 4 * macs_of(nn.Linear(width, width), x)


@some
@given(small, st.integers(1, 8), st.tuples(small, small), small)
def test_windowed_attention_macs(
    heads: int, per_head: int, grid: tuple[int, int], window: int
) -> None:
    width = heads * per_head
    height, breadth = (count * window for count in grid)
    layer = ShiftedWindowAttention(width, [window, window], [0, 0], heads)
    ours = windowed_attention_macs((height, breadth), width, window, heads)
    assert ours.total == macs_of(layer, torch.ones(1, height, breadth, width))
    n = height * breadth  # equation 2 of the paper
    assert ours.total == 4 * n * width**2 + 2 * window**2 * n * width


@given(st.integers(1, 1000))
def test_break_even(width: int) -> None:
    at = break_even_tokens(width)
    for tokens, sign in ((at - 1, -1), (at, 0), (at + 1, 1)):
        macs = attention_macs(tokens, width)
        assert (macs.products > macs.projections) - (macs.products < macs.projections) == sign


@some
@given(small, small, small, st.booleans())
def test_tokens_of_an_image(rows: int, columns: int, patch: int, class_token: bool) -> None:
    size = (rows * patch, columns * patch)
    net = VisionTransformer(
        img_size=size,
        patch_size=patch,
        embed_dim=2,
        num_heads=1,
        depth=0,
        num_classes=0,
        class_token=class_token,
        global_pool="token" if class_token else "avg",
    )
    features = net.forward_features(torch.ones(1, 3, *size))
    assert image_tokens(size, patch, class_token=class_token) == features.shape[1]


def test_vit_b_16() -> None:
    """86 567 656 parameters and 17.564 G MACs: torchvision's published counts."""
    tokens, width = image_tokens((224, 224), 16), 768
    blocks = 12 * transformer_block_macs(tokens, width, 12).total
    patches = conv_macs(3, width, (16, 16), (14, 14))
    assert round((blocks + patches + linear_macs(width, 1000)) / 1e9, 3) == 17.564
    params = 12 * transformer_block_params(width, 12) + conv_params(3, width, (16, 16))
    params += (tokens + 1) * width + layer_norm_params(width) + linear_params(width, 1000)
    assert params == 86_567_656
