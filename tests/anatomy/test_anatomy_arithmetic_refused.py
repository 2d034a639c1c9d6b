"""What the arithmetic refuses, each in one line."""

import sys
from collections.abc import Callable

import pytest

from vertebra.anatomy import arithmetic
from vertebra.anatomy.arithmetic import (
    StateBytes,
    Window,
    attention_macs,
    attention_params,
    batch_norm_params,
    batch_norm_statistics,
    bottleneck_saving,
    break_even_tokens,
    compound_scale,
    conv_macs,
    conv_output_size,
    conv_params,
    image_tokens,
    layer_norm_params,
    linear_macs,
    linear_params,
    matmul_macs,
    pool_output_size,
    reduction_saving,
    ring_all_reduce,
    same_padding,
    scaled_channels,
    scaled_depth,
    separable_saving,
    transformer_block_macs,
    transformer_block_params,
    transposed_conv_macs,
    transposed_conv_output_size,
    windowed_attention_macs,
    zero_memory,
)
from vertebra.core import VertebraError

REFUSED: list[tuple[str, Callable[[], object]]] = [
    ("stride must be .* 1 or more; got 0", lambda: conv_output_size(8, 3, stride=0)),
    ("size must be .* got -4", lambda: conv_output_size(-4, 3)),
    ("padding must be .* 0 or more; got -1", lambda: conv_output_size(8, 3, padding=-1)),
    ("dilation must be", lambda: conv_output_size(8, 3, dilation=0)),
    ("whole number", lambda: conv_output_size(8, 3, stride=2.0)),  # type: ignore[arg-type]
    ("kernel must be .* got True", lambda: conv_output_size(8, True)),
    ("spans 7 pixels, and 4 with padding 1 .* are 6", lambda: conv_output_size(4, 7, padding=1)),
    ("spans 5 pixels", lambda: conv_output_size(4, 3, dilation=2)),
    ("up to half of it, 1; got 2", lambda: pool_output_size(8, 3, padding=2)),
    ("stride must be", lambda: pool_output_size(8, 3, stride=0)),
    ("no position is left", lambda: pool_output_size(2, 3)),
    ("output padding must be less", lambda: transposed_conv_output_size(4, 3, output_padding=1)),
    ("crops all 6 pixels", lambda: transposed_conv_output_size(4, 3, padding=3)),
    ("stride must be", lambda: transposed_conv_output_size(4, 3, stride=0)),
    ("size must be", lambda: same_padding(0, 3)),
    ("kernel must be", lambda: Window(0)),
    ("padding must be", lambda: Window(3, padding=-1)),
    ("3 does not divide both 6 and 8", lambda: conv_params(6, 8, (3, 3), groups=3)),
    ("4 does not divide both 6 and 8", lambda: conv_params(6, 8, (3, 3), groups=4)),
    ("groups must be", lambda: conv_params(6, 8, (3, 3), groups=0)),
    ("one number an axis", lambda: conv_params(6, 8, 3)),  # type: ignore[arg-type]
    ("one number an axis", lambda: conv_params(6, 8, ())),
    ("kernel must be", lambda: conv_params(6, 8, (3, 0))),
    ("input channels must be", lambda: conv_params(0, 8, (3, 3))),
    ("equally many axes", lambda: conv_macs(6, 8, (3, 3), (5,))),
    ("map size must be", lambda: conv_macs(6, 8, (3, 3), (5, 0))),
    ("equally many axes", lambda: transposed_conv_macs(6, 8, (3, 3), (5, 5, 5))),
    ("in features must be", lambda: linear_params(0, 4)),
    ("rows must be", lambda: linear_macs(4, 4, rows=0)),
    ("inner must be", lambda: matmul_macs(1, -1, 1)),
    ("channels must be", lambda: batch_norm_params(0)),
    ("channels must be", lambda: batch_norm_statistics(-2)),
    ("width must be", lambda: layer_norm_params(0)),
    ("5 does not divide 8", lambda: attention_params(8, 5)),
    ("5 does not divide 8", lambda: attention_macs(7, 8, 5)),
    ("rows must be", lambda: attention_macs(0, 8)),
    ("window 7 does not divide", lambda: windowed_attention_macs((14, 15), 8, 7)),
    ("window must be", lambda: windowed_attention_macs((14, 15), 8, 0)),
    ("makes 12.5 of width 5", lambda: transformer_block_macs(7, 5, mlp_ratio=2.5)),
    ("must be positive", lambda: transformer_block_params(8, mlp_ratio=float("nan"))),
    ("must be positive", lambda: transformer_block_params(8, mlp_ratio=0)),
    ("patch 16 does not divide", lambda: image_tokens((224, 225), 16)),
    ("patch must be", lambda: image_tokens((224, 224), 0)),
    ("width must be", lambda: break_even_tokens(0)),
    ("kernel must be", lambda: separable_saving(8, 8, 0, (4, 4))),
    ("map size takes", lambda: separable_saving(8, 8, 3, ())),
    ("channels must be", lambda: bottleneck_saving(8, 0, (4, 4))),
    ("channels must be", lambda: reduction_saving(8, 0, 8, 3, (4, 4))),
    # Scaling, and many GPUs.
    ("phi must be finite", lambda: compound_scale(float("nan"))),
    ("nearer to 0", lambda: compound_scale(1e6)),
    ("nearer to 0", lambda: compound_scale(-1e6)),
    ("beta must be 1 or more", lambda: compound_scale(1, beta=0.9)),
    ("alpha must be 1 or more", lambda: compound_scale(1, alpha=float("inf"))),
    ("repeats must be", lambda: scaled_depth(0, 1.1)),
    ("depth must be positive", lambda: scaled_depth(3, -1)),
    ("depth must be positive", lambda: scaled_depth(3, float("inf"))),
    ("channels must be", lambda: scaled_channels(0, 1.1)),
    ("width must be positive", lambda: scaled_channels(8, 0)),
    ("divisor must be", lambda: scaled_channels(8, 1, 0)),
    ("optimiser must be", lambda: StateBytes(2, 2, -1)),
    ("params must be", lambda: zero_memory(0, 1, 0)),
    ("ranks must be", lambda: zero_memory(10, 0, 0)),
    ("0, 1, 2 or 3; got 4", lambda: zero_memory(10, 1, 4)),
    ("size must be", lambda: ring_all_reduce(-1, 2)),
    ("ranks must be", lambda: ring_all_reduce(8, 0)),
    ("bandwidth must be positive", lambda: ring_all_reduce(8, 2).seconds(0)),
    ("latency must be", lambda: ring_all_reduce(8, 2).seconds(1, -1)),
]


@pytest.mark.parametrize(("message", "call"), REFUSED, ids=range(len(REFUSED)))
def test_refused_in_one_line(message: str, call: Callable[[], object]) -> None:
    with pytest.raises(VertebraError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_no_module_holds_pytorch() -> None:
    modules = [m for name, m in sys.modules.items() if name.startswith(arithmetic.__name__ + ".")]
    assert len(modules) > 5
    assert not [module for module in modules if "torch" in vars(module)]
