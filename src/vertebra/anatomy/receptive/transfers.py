"""Which transfer carries receptive fields through which operation."""

from __future__ import annotations

from vertebra.anatomy.graph import ATTENTIONS, WRITTEN
from vertebra.anatomy.receptive.borders import padding, reflection, replication, rolling
from vertebra.anatomy.receptive.folding import (
    folding,
    pixel_shuffle,
    pixel_unshuffle,
    shuffled_channels,
    unfolding,
)
from vertebra.anatomy.receptive.mixing import (
    attention,
    batch_norm,
    group_norm,
    layer_norm,
    matrix_product,
    reduction,
    softmax,
)
from vertebra.anatomy.receptive.moving import (
    concatenation,
    expansion,
    flipping,
    gating,
    permutation,
    repetition,
    restrided,
    selection,
    slicing,
    splitting,
    squeeze,
    stacking,
    table_lookup,
    unsqueeze,
    view,
)
from vertebra.anatomy.receptive.pointwise import pointwise, written
from vertebra.anatomy.receptive.step import Transfer
from vertebra.anatomy.receptive.windows import (
    adaptive_pooling,
    convolution,
    interpolation,
    pooling,
)

TRANSFERS: dict[str, Transfer] = {
    "convolution": convolution,
    WRITTEN: written,
    "as_strided": restrided,
    **dict.fromkeys(ATTENTIONS, attention),
    **dict.fromkeys(("max_pool2d_with_indices", "avg_pool2d", "avg_pool3d"), pooling),
    **dict.fromkeys(
        ("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"), adaptive_pooling
    ),
    **dict.fromkeys(
        (
            "upsample_nearest2d",
            "_upsample_nearest_exact2d",
            "upsample_bilinear2d",
            "upsample_bicubic2d",
        ),
        interpolation,
    ),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "linalg_vector_norm", "norm"), reduction),
    **dict.fromkeys(("_softmax", "_safe_softmax", "_log_softmax"), softmax),
    "native_layer_norm": layer_norm,
    "native_group_norm": group_norm,
    **dict.fromkeys(
        (
            "native_batch_norm",
            "_native_batch_norm_legit",
            "_native_batch_norm_legit_no_training",
        ),
        batch_norm,
    ),
    "mm": matrix_product("self", "mat2"),
    "bmm": matrix_product("self", "mat2"),
    "addmm": matrix_product("mat1", "mat2"),
    **dict.fromkeys(("view", "_unsafe_view", "reshape"), view),
    **dict.fromkeys(("permute", "transpose", "t"), permutation),
    "unsqueeze": unsqueeze,
    "squeeze": squeeze,
    "expand": expansion,
    "slice": slicing,
    "select": selection,
    **dict.fromkeys(("split", "split_with_sizes", "unbind"), splitting),
    "cat": concatenation,
    "stack": stacking,
    "constant_pad_nd": padding,
    "reflection_pad2d": reflection,
    "replication_pad2d": replication,
    "roll": rolling,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), shuffled_channels),
    "im2col": unfolding,
    "col2im": folding,
    "flip": flipping,
    "glu": gating,
    "index_select": table_lookup,
    "repeat": repetition,
    **dict.fromkeys(
        """
        add sub mul div rsub neg abs pow square sqrt rsqrt exp expm1 log log1p sin cos reciprocal
        sign maximum minimum clamp clamp_min clamp_max where clone detach alias contiguous _to_copy
        relu leaky_relu hardtanh hardswish hardsigmoid sigmoid log_sigmoid_forward tanh gelu silu
        elu mish softplus erf native_dropout dropout lift_fresh masked_fill addcmul addcdiv lerp
        _prelu_kernel prelu softshrink floor round ceil relu6 selu celu heaviside threshold
        """.split(),
        pointwise,
    ),
}
