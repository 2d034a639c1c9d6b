"""What PyTorch's CPU allocator really handed out, from the profiler's record."""

from collections.abc import Callable, Iterator
from typing import Any

import torch


def handed_out(call: Callable[[], Any]) -> tuple[int, int]:
    """(most bytes alive at once during ``call``, bytes alive at its end), above what lived before.

    What ``call`` returns is alive at its end. Not counted is the scratch of a kernel: what is
    allocated and freed again while one and the same operation on tensors runs.
    """
    with torch.profiler.profile(profile_memory=True, with_stack=False) as profile:
        result = call()
    roots = profile.profiler.kineto_results.experimental_event_tree()
    events = sorted(_allocations(roots, 0), key=lambda event: event[0])
    opened: dict[int, tuple[int, int]] = {}
    scratch: set[int] = set()
    for index, (_time, pointer, size, operation) in enumerate(events):
        if size > 0:
            opened[pointer] = (index, operation)
        elif pointer in opened:
            begin, inside = opened.pop(pointer)
            if inside == operation and operation:
                scratch.update((begin, index))
    live = peak = 0
    for index, (_time, _pointer, size, _operation) in enumerate(events):
        if index not in scratch:
            live += size
            peak = max(peak, live)
    del result
    return peak, live


# The operations that a dispatcher sees, whose inner allocations are the kernel's own affair.
KERNELS = frozenset(
    f"aten::{name}"
    for name in """
    convolution convolution_backward mm bmm addmm baddbmm native_batch_norm
    native_batch_norm_backward native_layer_norm native_layer_norm_backward
    max_pool2d_with_indices max_pool2d_with_indices_backward avg_pool2d avg_pool2d_backward mean sum
    _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention_for_cpu_backward
    _softmax _softmax_backward_data cat gelu gelu_backward silu silu_backward hardswish
    hardswish_backward
    """.split()
)


def _allocations(events: Any, operation: int) -> Iterator[tuple[int, int, int, int]]:
    """(time, address, bytes or minus bytes, the kernel around it or 0)."""
    for event in events:
        if event.name == "[memory]":
            fields = event.extra_fields
            yield event.start_time_ns, fields.ptr, fields.alloc_size, operation
            continue
        inside = operation
        if not operation and event.name in KERNELS:
            inside = event.id
        yield from _allocations(event.children, inside)
