"""Keep freed memory for the next batch instead of giving it back to the system."""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
LARGEST_KEPT = 1 << 30
MOST_KEPT = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large blocks; True if it listened, False where there is no glibc.

    Otherwise each activation of a batch is fresh memory that the kernel fills with zeros first.
    The process keeps what it needed at its peak: this is for a command, not for a library call.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(
        libc.mallopt(MMAP_THRESHOLD, LARGEST_KEPT) and libc.mallopt(TRIM_THRESHOLD, MOST_KEPT)
    )
