"""How this process gives memory back."""

import ctypes
import gc
import sys
from collections.abc import Callable

# Parameters of mallopt in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Bytes up to which blocks come from the heap. Older ones of glibc take no more than half of what
# they give a thread's heap at once.
_FROM_THE_HEAP = (1 << 30, 32 << 20)


def can_keep_freed_memory() -> bool:
    """Whether :func:`keep_freed_memory` takes effect here."""
    return _mallopt() is not None


def keep_freed_memory() -> bool:
    """Keep freed blocks for the next allocation instead of returning them to the system.

    A training step frees and allocates the same activations again and again; glibc maps every large
    block anew, and the kernel then clears it page by page. Affects the whole process for good, so
    it is for a program to call and not for a library. Only glibc has the switch.

    Returns:
        Whether it took effect.
    """
    mallopt = _mallopt()
    if mallopt is None:
        return False
    from_the_heap = any(mallopt(_M_MMAP_THRESHOLD, most) for most in _FROM_THE_HEAP)
    return bool(from_the_heap and mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))


def give_back_freed_memory() -> bool:
    """Return freed blocks to the system once, also where :func:`keep_freed_memory` keeps them.

    For where one kind of work ends and a process is forked for the next: a child would hold the
    freed blocks as well, as soon as its parent writes to them.

    Returns:
        Whether there was something to return, and a C library that can.
    """
    if not sys.platform.startswith("linux"):
        return False
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and bool(trim(0))


def _mallopt() -> Callable[[int, int], int] | None:
    """glibc's switch; None where the C library is another one."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "mallopt", None)
