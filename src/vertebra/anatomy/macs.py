"""Multiply-accumulates of one operation, by a named convention.

``torchvision``: convolutions and matrix products, without bias, norm, activation or pooling. It is
what torchvision publishes as ``_ops`` (in units of 1e9) for its weights. One multiply-accumulate is
two floating-point operations.
"""

import math
from collections.abc import Callable

from vertebra.anatomy.graph import Graph, Node
from vertebra.core import unknown

Counter = Callable[[Graph, Node], int]

CONVENTIONS = ("torchvision",)


def check_convention(name: str) -> None:
    """Raise the error for an unknown convention."""
    if name not in CONVENTIONS:
        raise unknown("counting convention", name, CONVENTIONS)


def count(graph: Graph, node: Node) -> int | None:
    """MACs of one node, None where the operation does arithmetic that is not known here."""
    name = node.operation.removeprefix("aten.")
    if name in _COUNTERS:
        return _COUNTERS[name](graph, node)
    return 0 if name.rstrip("_") in _WITHOUT_PRODUCTS else None


def _shape(graph: Graph, node: Node, operand: str) -> tuple[int, ...]:
    return graph.values[node.operands[operand][0]].shape


def _convolution(graph: Graph, node: Node) -> int:
    """Each output position meets one kernel; transposed, each input position does."""
    weight = _shape(graph, node, "weight")
    transposed = node.attributes.get("transposed", False)
    positions = _shape(graph, node, "input") if transposed else graph.values[node.outputs[0]].shape
    return math.prod(positions) * math.prod(weight[1:])


def _matrix_product(left: str) -> Counter:
    """Each output entry sums over the last dimension of the left operand."""

    def counter(graph: Graph, node: Node) -> int:
        return math.prod(graph.values[node.outputs[0]].shape) * _shape(graph, node, left)[-1]

    return counter


def _attention(graph: Graph, node: Node) -> int:
    """Each query meets each key, and its weights each value: T_q T_k (d + d_v) a head."""
    query, key, value = (_shape(graph, node, operand) for operand in ("query", "key", "value"))
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


# One operation, many kernels: PyTorch's choice depends on device, mask and gradients.
_ATTENTIONS = """
_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention
_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
_scaled_dot_product_fused_attention_overrideable
""".split()

_COUNTERS: dict[str, Counter] = {
    "convolution": _convolution,
    "mm": _matrix_product("self"),
    "bmm": _matrix_product("self"),
    "addmm": _matrix_product("mat1"),
    "baddbmm": _matrix_product("batch1"),
    **dict.fromkeys(_ATTENTIONS, _attention),
}

# Known to hold no convolution and no matrix product. An in-place twin ends in "_".
_WITHOUT_PRODUCTS = frozenset(
    """
    add sub mul div neg abs pow sqrt rsqrt exp log reciprocal maximum minimum clamp where relu
    leaky_relu hardtanh hardswish hardsigmoid sigmoid tanh gelu silu elu mish softplus erf
    addcmul _softmax softmax _safe_softmax _log_softmax sum mean amax amin max min var var_mean
    argmax cumsum
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training batch_norm
    native_layer_norm native_group_norm native_dropout bernoulli rand rand_like lt le gt ge eq
    ne max_pool2d_with_indices avg_pool2d avg_pool3d _adaptive_avg_pool2d adaptive_avg_pool2d
    adaptive_max_pool2d upsample_nearest2d upsample_bilinear2d _upsample_bilinear2d_aa
    _upsample_bicubic2d_aa upsample_bicubic2d view _unsafe_view reshape flatten t transpose
    permute expand expand_as slice select index_select index gather narrow split
    split_with_sizes chunk unbind cat stack unsqueeze squeeze constant_pad_nd reflection_pad2d
    roll flip repeat clone copy contiguous _to_copy to detach alias empty empty_like zeros
    zeros_like ones ones_like full full_like arange new_empty new_zeros new_ones scalar_tensor
    lift_fresh as_strided fill zero masked_fill unfold
    """.split()
)
