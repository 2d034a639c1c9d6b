"""How this process gives memory back."""

import ctypes
import sys

# Parameters of mallopt in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Keep freed blocks for the next allocation instead of returning them to the system.

    A training step frees and allocates the same activations again and again; glibc maps every large
    block anew, and the kernel then clears it page by page. Affects the whole process for good, so
    it is for a program to call and not for a library. Only glibc has the switch.

    Returns:
        Whether it took effect.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30) and mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))
