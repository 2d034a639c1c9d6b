"""A network as data: what one capture leaves behind, and all that the other files read."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# The operation, PyTorch has none, by which writing through one view changes what another one shows.
WRITTEN = "written_through"

# These take a tensor for its shape and type only.
FRESH = frozenset(
    """
    new_zeros new_ones new_full new_empty new_empty_strided zeros_like ones_like full_like
    empty_like rand_like randn_like
    """.split()
)

# Scaled dot-product attention: PyTorch's choice of kernel depends on device, mask and gradients.
ATTENTIONS = frozenset(
    """
    _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention
    _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
    _scaled_dot_product_fused_attention_overrideable
    """.split()
)

# One layer of an LSTM in one direction, over the whole sequence, by oneDNN.
RECURRENT = "mkldnn_rnn_layer"


@dataclass(frozen=True)
class Value:
    """One tensor that came into being: its shape and type, never its numbers.

    ``parameter`` is its name if it is one of the network's parameters, else None; ``trainable``
    says whether that parameter learns. Values of one ``storage`` share their memory, as a view and
    what it views.
    """

    shape: tuple[int, ...]
    dtype: str
    parameter: str | None = None
    trainable: bool = False
    storage: int = -1
    buffer: str | None = None

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        if self.dtype == "bool":
            return 1
        digits = re.search(r"\d+", self.dtype)
        return int(digits[0]) // 8 if digits else 4


@dataclass(frozen=True)
class Node:
    """One operation.

    ``operation`` is the dispatcher's name without its overload ("aten.convolution"). ``operands``
    maps an argument's name to the ids of the values it held; ``attributes`` holds every other
    argument as plain data. A view or an in-place operation has an output id of its own; what reads
    a value after another name of its memory was written to reads the output of a node ``WRITTEN``,
    made of the old value and of what was written. ``module`` is the path of the innermost module
    that was running.
    """

    operation: str
    attributes: Mapping[str, Any]
    operands: Mapping[str, tuple[int, ...]]
    outputs: tuple[int, ...]
    module: str
    # Whether autograd was on: not under torch.no_grad, nor inside a custom autograd.Function.
    recorded: bool = True

    @property
    def name(self) -> str:
        """The operation without namespace and without the mark of an in-place twin: "relu"."""
        return self.operation.removeprefix("aten.").rstrip("_")

    @property
    def inputs(self) -> tuple[int, ...]:
        """Ids of all operands, in the order of the arguments."""
        return tuple(value for values in self.operands.values() for value in values)


@dataclass(frozen=True)
class ModuleCall:
    """One run of one module: the nodes ``start`` up to ``end`` (exclusive) happened inside it."""

    path: str
    kind: str
    leaf: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, repr=False)
class Graph:
    """Everything one forward did, in order.

    ``differentiable`` are the values that autograd would hand a gradient to, did all parameters
    learn.
    """

    values: tuple[Value, ...]
    nodes: tuple[Node, ...]
    calls: tuple[ModuleCall, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    differentiable: frozenset[int] = frozenset()

    def __repr__(self) -> str:
        return f"<Graph of {len(self.nodes)} operations on {len(self.values)} values>"

    def live_nodes(self) -> Iterator[Node]:
        """The nodes on which an output depends, in order."""
        needed = set(self.outputs)
        live = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                live.append(node)
        return reversed(live)

    def fingerprint(self) -> str:
        """Sixteen hex digits of what is computed: operations, attributes, shapes and edges.

        Names of modules and parameters do not count, nor does what no output depends on. Equal for
        two networks that compute the same thing with other weights.
        """
        numbers: dict[int, int] = {}

        def number(value: int) -> tuple[int, tuple[int, ...], str]:
            stored = self.values[value]
            return numbers.setdefault(value, len(numbers)), stored.shape, stored.dtype

        used = {value for node in self.nodes for value in node.inputs} | set(self.outputs)
        rows: list[Any] = [[number(value) for value in self.inputs]]
        for node in self.live_nodes():
            operands = {
                name: [number(value) for value in values] for name, values in node.operands.items()
            }
            # What nobody uses, such as the statistics of a batch norm, differs between versions.
            outputs = [number(value) for value in node.outputs if value in used]
            rows.append([node.operation, dict(node.attributes), operands, outputs])
        text = json.dumps(rows, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
