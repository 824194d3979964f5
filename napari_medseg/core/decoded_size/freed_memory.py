"""What the allocator does with memory that was freed: keep it for the next pass, or give it back to the system.

By default glibc takes each array of more than 32 MB from the system and gives it back at once, and the system clears
every page of it before it is used. That took a fifth of the processor when a series was predicted on a CPU.
"""

import ctypes
import sys
from functools import cache

LARGEST_KEPT_BYTES, LARGEST_KEPT_BYTES_OLD = 256 * 2**20, 32 * 2**20
"""Larger arrays go back at once; before version 2.35 glibc takes no more than the second."""
MOST_KEPT_BYTES = 512 * 2**20
"""That is free at the end of the heap; `return_freed_memory` gives back the rest, too."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of `mallopt`."""


@cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for arrays of the same size that follow; return whether it can.

    A process that waits calls `return_freed_memory` when nothing follows; `refuse_above_limit` calls it before an image
    is refused. Only glibc can do it: Linux, not Alpine.
    """
    libc = _open_glibc()
    if libc is None:
        return False
    libc.mallopt(_TRIM_THRESHOLD, MOST_KEPT_BYTES)
    return bool(
        libc.mallopt(_MMAP_THRESHOLD, LARGEST_KEPT_BYTES) or libc.mallopt(_MMAP_THRESHOLD, LARGEST_KEPT_BYTES_OLD)
    )


def return_freed_memory() -> None:
    """Give back to the system what was freed and kept."""
    libc = _open_glibc()
    if libc is not None:
        libc.malloc_trim(0)


@cache
def _open_glibc() -> ctypes.CDLL | None:
    """Return the C library of this process; `None` if it is not glibc."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
