"""The arithmetic of layers: what can be worked out by hand from a network's hyperparameters.

What :func:`vertebra.anatomy.dissect` reads off a network is calculated here from numbers alone, in
exact integers and fractions where the question allows it, and without PyTorch.

- :mod:`.sizes`: pixels after a convolution, a pooling, a transposed convolution;
  :mod:`.padding`: TensorFlow's "SAME".
- :mod:`.fields`: receptive fields.
- :mod:`.parameters` and :mod:`.macs`: convolutions, linear layers, norms, matrix products;
  :mod:`.attention`: both for transformers, and their tokens.
- :mod:`.savings`: depthwise separable, bottleneck and reduced convolutions beside dense ones.
- :mod:`.scaling`: compound scaling; :mod:`.parallel`: ZeRO and ring all-reduce.

Sizes and windows are those of one axis; a kernel or a map of several axes is a sequence, one number
an axis. MACs count products as :mod:`vertebra.anatomy.macs` does: no bias, norm or activation, and
what meets padding counts too. They are those of one image.

Every checked function raises ``VertebraError`` for a number that is no whole number or too small
(:mod:`.checks`), and for what else its docstring names.
"""

from vertebra.anatomy.arithmetic.attention import (
    TransformerMacs,
    attention_macs,
    attention_params,
    break_even_tokens,
    image_tokens,
    transformer_block_macs,
    transformer_block_params,
    windowed_attention_macs,
)
from vertebra.anatomy.arithmetic.fields import AxisField, Window, receptive_field, window_field
from vertebra.anatomy.arithmetic.macs import (
    conv_macs,
    linear_macs,
    matmul_macs,
    transposed_conv_macs,
)
from vertebra.anatomy.arithmetic.padding import SamePadding, same_padding
from vertebra.anatomy.arithmetic.parallel import (
    MIXED_ADAM,
    RingAllReduce,
    StateBytes,
    StateMemory,
    ring_all_reduce,
    zero_memory,
)
from vertebra.anatomy.arithmetic.parameters import (
    batch_norm_params,
    batch_norm_statistics,
    conv_params,
    layer_norm_params,
    linear_params,
)
from vertebra.anatomy.arithmetic.savings import (
    Cost,
    Saving,
    bottleneck_saving,
    reduction_saving,
    separable_saving,
)
from vertebra.anatomy.arithmetic.scaling import (
    ALPHA,
    BETA,
    GAMMA,
    CompoundScale,
    compound_scale,
    scaled_channels,
    scaled_depth,
)
from vertebra.anatomy.arithmetic.sizes import (
    conv_output_size,
    conv_size,
    pool_output_size,
    pool_size,
    transposed_conv_output_size,
    transposed_conv_size,
)

__all__ = [
    "ALPHA",
    "BETA",
    "GAMMA",
    "MIXED_ADAM",
    "AxisField",
    "CompoundScale",
    "Cost",
    "RingAllReduce",
    "SamePadding",
    "Saving",
    "StateBytes",
    "StateMemory",
    "TransformerMacs",
    "Window",
    "attention_macs",
    "attention_params",
    "batch_norm_params",
    "batch_norm_statistics",
    "bottleneck_saving",
    "break_even_tokens",
    "compound_scale",
    "conv_macs",
    "conv_output_size",
    "conv_params",
    "conv_size",
    "image_tokens",
    "layer_norm_params",
    "linear_macs",
    "linear_params",
    "matmul_macs",
    "pool_output_size",
    "pool_size",
    "receptive_field",
    "reduction_saving",
    "ring_all_reduce",
    "same_padding",
    "scaled_channels",
    "scaled_depth",
    "separable_saving",
    "transformer_block_macs",
    "transformer_block_params",
    "transposed_conv_macs",
    "transposed_conv_output_size",
    "transposed_conv_size",
    "window_field",
    "windowed_attention_macs",
    "zero_memory",
]
