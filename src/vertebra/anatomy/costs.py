"""What operations other than convolutions and matrix products cost, as tables of rules.

``FULL`` counts operations on numbers. A product itself is counted in :mod:`.macs`; here stands what
it does besides. Rules, by element of the output unless said otherwise:

- sum, difference, product, quotient, power, root, exponential, logarithm, comparison: 1 each;
- activations by what they are made of: ReLU 1, leaky ReLU 2, ReLU6 2, sigmoid 4 (negation,
  exponential, addition, division), SiLU 5, GELU 5 (a scaling, the error function, an addition, two
  products), GLU 5 (a sigmoid and a product), hard sigmoid 4, hard swish 5, softplus 3, mish 5,
  ELU 3, hard shrinkage 1, soft shrinkage 2;
- bias of a convolution or linear layer: 1;
- batch norm with kept statistics: 2 (a subtraction and a multiply-accumulate; scale and shift are
  constants then); norms that measure their input: 5 with learnt scale and shift, 4 without (a sum
  for the mean; a difference and a square for the variance; a product; a multiply-accumulate);
- softmax: 5 (maximum, difference, exponential, sum, quotient);
- maximum over a window of k: k - 1 comparisons; average over one: k; a sum, mean or maximum over
  dimensions and adaptive pooling: 1 for each element that goes in, variance 3;
- interpolation at one position: linear 2, bilinear 4, trilinear 8, bicubic 16, nearest 0;
- fused attention: 1 for each number of the queries (the scaling), 5 for each score (the softmax), 1
  more if a mask is added;
- LSTM, for each number of a state: 22 (four sums of two products, three sigmoids, two hyperbolic
  tangents, three products and a sum), 8 more for its two biases a gate;
- a weight kept as length and direction: 2 for each of its elements (the norm, the product);
- views, copies, padding, look-ups by index, constants, random numbers: 0.

``FVCORE`` is what fvcore's ``FlopCountAnalysis`` adds to products (fvcore 0.1.5, flop_count.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from vertebra.anatomy.graph import ATTENTIONS, FRESH, RECURRENT, WRITTEN, Graph, Node

Rule = Callable[[Graph, Node], int]


def _made(graph: Graph, node: Node) -> int:
    """Elements of the first output."""
    return math.prod(graph.values[node.outputs[0]].shape)


def _given(graph: Graph, node: Node) -> int:
    """Elements of the first operand."""
    return math.prod(graph.values[node.inputs[0]].shape)


def _each(operations: int) -> Rule:
    return lambda graph, node: operations * _made(graph, node)


def _each_given(operations: int) -> Rule:
    return lambda graph, node: operations * _given(graph, node)


def _bias(graph: Graph, node: Node) -> int:
    return _made(graph, node) if node.operands.get("bias") else 0


def _own_statistics(graph: Graph, node: Node) -> int:
    return (5 if node.operands.get("weight") else 4) * _made(graph, node)


def measures(node: Node) -> bool:
    """Whether a batch norm takes its statistics from its input, as instance norm does."""
    if node.name.endswith("no_training"):
        return False
    return bool(node.attributes.get("training", not node.operands.get("running_mean")))


def _batch_norm(graph: Graph, node: Node) -> int:
    return _own_statistics(graph, node) if measures(node) else 2 * _made(graph, node)


def _maker(graph: Graph, value: int) -> str:
    """Name of the operation that made the value, "" where none did."""
    return next((node.name for node in graph.nodes if value in node.outputs), "")


def _batch_norm_of_fvcore(graph: Graph, node: Node) -> int:
    # Instance norm, whose kept statistics PyTorch repeats for each image, is a norm like others.
    kept = node.operands.get("running_mean")
    if measures(node) or (kept and _maker(graph, kept[0]) == "repeat"):
        return _own_statistics(graph, node)
    return (2 if node.operands.get("weight") else 1) * _made(graph, node)


def _window(node: Node) -> int:
    kernel = list(node.attributes["kernel_size"])
    axes = int(node.name.split("pool")[1][0])
    return math.prod(kernel) if len(kernel) == axes else int(kernel[0]) ** axes


def _max_pool(graph: Graph, node: Node) -> int:
    return (_window(node) - 1) * _made(graph, node)


def _avg_pool(graph: Graph, node: Node) -> int:
    return _window(node) * _made(graph, node)


def attention_scores(graph: Graph, node: Node) -> int:
    """One score for each query and key of each head and image."""
    query, key = (graph.values[node.operands[name][0]].shape for name in ("query", "key"))
    return math.prod(query[:-1]) * key[-2]


def _attention(graph: Graph, node: Node) -> int:
    scaled = math.prod(graph.values[node.operands["query"][0]].shape)
    masked = 1 if node.operands.get("attn_mask") or node.operands.get("attn_bias") else 0
    return scaled + (5 + masked) * attention_scores(graph, node)


def _adaptive_of_fvcore(graph: Graph, node: Node) -> int:
    """One for each element of a map; that of a sequence, a map of height 1 to PyTorch, is free."""
    given = node.inputs[0]
    sequence = graph.values[given].shape[-2] == 1 and _maker(graph, given) == "unsqueeze"
    return 0 if sequence else _given(graph, node)


def _mean_of_fvcore(graph: Graph, node: Node) -> int:
    """Adaptive pooling to one position, which PyTorch runs as this very mean."""
    pooled = node.attributes.get("dim") == [-1, -2] and node.attributes.get("keepdim")
    return _adaptive_of_fvcore(graph, node) if pooled else 0


def _recurrent(graph: Graph, node: Node) -> int:
    """Besides the products: see the table above."""
    biases = 8 if node.attributes.get("has_biases") else 0
    return (22 + biases) * _made(graph, node)


def _grid_sample(graph: Graph, node: Node) -> int:
    axes = int(node.name[-2])
    by_mode = (2**axes, 0, 16)  # linear, nearest, cubic
    return by_mode[node.attributes["interpolation_mode"]] * _made(graph, node)


_OPERATIONS = {
    1: """
       add sub rsub mul div neg abs sign pow square sqrt rsqrt exp expm1 log log1p log2 sin cos erf
       reciprocal maximum minimum clamp_min clamp_max floor ceil round remainder fmod relu tanh
       lt le gt ge eq ne logical_and logical_or logical_not logical_xor bitwise_not bitwise_and
       bitwise_or bitwise_xor floor_divide atan2 heaviside cumsum cumprod trunc frac tan asin acos
       atan sinh cosh asinh acosh atanh exp2 log10 erfc isnan isinf hardshrink
       """,
    2: """
       clamp hardtanh leaky_relu rrelu_with_noise _prelu_kernel prelu addcmul addcdiv lerp threshold
       softshrink upsample_linear1d
       """,
    3: "softplus elu celu selu log_sigmoid_forward",
    4: "sigmoid hardsigmoid upsample_bilinear2d",
    5: "silu gelu glu hardswish mish _softmax _safe_softmax _log_softmax",
    8: "upsample_trilinear3d",
    16: "upsample_bicubic2d",
}
_OPERATIONS_ON_INPUT = {
    1: """
       sum mean amax amin max min argmax argmin any all prod logsumexp linalg_vector_norm norm
       _adaptive_avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d col2im
       """,
    2: "_weight_norm_interface",
    3: "var var_mean std std_mean",
}
_BATCH_NORMS = (
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
)
FULL: dict[str, Rule] = {
    **{name: _each(n) for n, names in _OPERATIONS.items() for name in names.split()},
    **{name: _each_given(n) for n, names in _OPERATIONS_ON_INPUT.items() for name in names.split()},
    **dict.fromkeys(("native_layer_norm", "native_group_norm"), _own_statistics),
    **dict.fromkeys(_BATCH_NORMS, _batch_norm),
    **dict.fromkeys(
        ("max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool1d"), _max_pool
    ),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _avg_pool),
    "convolution": _bias,
    RECURRENT: _recurrent,
    **dict.fromkeys(("addmm", "addmv", "baddbmm", "addbmm"), _each(1)),
    **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d"), _grid_sample),
    **dict.fromkeys(ATTENTIONS, _attention),
}

FVCORE: dict[str, Rule] = {
    **dict.fromkeys(("native_layer_norm", "native_group_norm"), _own_statistics),
    **dict.fromkeys(_BATCH_NORMS, _batch_norm_of_fvcore),
    **dict.fromkeys(("_adaptive_avg_pool2d", "adaptive_avg_pool2d"), _adaptive_of_fvcore),
    "mean": _mean_of_fvcore,
    "upsample_nearest2d": _each(1),
    "upsample_bilinear2d": _each(4),
    **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d"), _each(4)),
}

# No convolution and no matrix product, but what they cost depends on numbers, or has no rule here.
UNPRICED = frozenset(
    """
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa sort topk
    _native_multi_head_attention _transformer_encoder_layer_fwd median kthvalue unique _unique2
    bincount histc nonzero searchsorted bucketize
    """.split()
)

# The same numbers under another shape or type, or numbers from nowhere: nothing that a reader of
# layers would call one.
VIEWS = FRESH | frozenset(
    f"""
    {WRITTEN}
    view _unsafe_view reshape flatten t transpose permute movedim expand expand_as slice select
    narrow split split_with_sizes unsafe_split unsafe_split_with_sizes chunk unbind unsqueeze
    squeeze as_strided diagonal view_as_real view_as_complex clone copy contiguous _to_copy to
    detach alias lift_fresh resize set empty empty_strided zeros ones full arange linspace eye
    scalar_tensor fill zero
    """.split()
)
# Of these, the ones that write what they make.
COPIES = frozenset("clone copy contiguous _to_copy to".split())
# They read as much of a table as they give.
LOOKUPS = frozenset("embedding index index_select gather".split())
# Numbers moved about, or drawn.
FREE = VIEWS | frozenset(
    """
    index_select index gather cat stack constant_pad_nd reflection_pad2d reflection_pad1d
    reflection_pad3d replication_pad1d replication_pad2d replication_pad3d roll flip rot90 repeat
    masked_fill where embedding im2col unfold scatter index_put slice_scatter select_scatter tril
    triu pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle complex
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d max_unpool2d masked_scatter native_dropout
    bernoulli exponential rand randn randint randperm normal uniform
    """.split()
)
