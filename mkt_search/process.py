"""Memory and thread settings for commands that run a model.

They affect the whole process, so only commands set them, never the library.
"""

import ctypes
import os
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
MAX_REUSED_BLOCK_BYTES = 1 << 30
MAX_KEPT_BYTES = (1 << 31) - 1
GNU_SPIN_COUNT = "20000"  # iterations; for GNU's OpenMP
LLVM_SPIN_MS = "1"  # for LLVM's and Intel's OpenMP


def keep_freed_memory() -> bool:
    """Make glibc reuse large freed blocks; return False without glibc.

    By default, the memory of each activation of a batch is returned to the kernel, which fills it
    with zeros again for the next. With this, the process keeps its peak memory.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(
        libc.mallopt(MMAP_THRESHOLD, MAX_REUSED_BLOCK_BYTES)
        and libc.mallopt(TRIM_THRESHOLD, MAX_KEPT_BYTES)
    )


def let_idle_threads_sleep() -> None:
    """Let OpenMP threads that wait sleep after a short spin; call it before torch is imported.

    By default they spin for long and take processor time from the workers that decode photos.
    Without any spin, waking them takes longer than computing a small layer. A policy set by the
    user stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", GNU_SPIN_COUNT)
        os.environ.setdefault("KMP_BLOCKTIME", LLVM_SPIN_MS)
