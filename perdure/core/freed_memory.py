"""The C library's memory: what a step frees is kept for the next one, which asks for the same again."""

from __future__ import annotations

import ctypes
import os
from functools import cache

# Numbers of mallopt's parameters, as malloc.h of the GNU C library has them.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# How much that is free the process keeps, and from which size on the system is asked each time.
KEPT, ALONE = 256 * 2**20, 32 * 2**20


@cache
def keep_freed() -> bool:
    """Let the process keep up to 256 MB that it has freed, and return whether that could be arranged.

    A step of many replicas allocates and frees arrays of some megabytes. By default the GNU C library gives
    such memory back to the system after each step and asks for it again, page by page: a tenth of the time
    of such steps, and up to two fifths of that of scoring, went there. Nothing happens with other C
    libraries, and where the user has set thresholds (``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_``,
    ``GLIBC_TUNABLES``).
    """
    chosen = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
    if os.name != "posix" or any(name in os.environ for name in chosen):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # It returns 1 for what it took; both are asked for, whatever the first says.
    return mallopt is not None and all([mallopt(_TRIM_THRESHOLD, KEPT), mallopt(_MMAP_THRESHOLD, ALONE)])
