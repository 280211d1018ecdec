"""How a command's process treats the machine: memory that it keeps, threads that sleep.

For commands whose work is a model's. They are settings of the whole process, so a library call
leaves them alone.
"""

import ctypes
import os
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
LARGEST_KEPT = 1 << 30
MOST_KEPT = (1 << 31) - 1
SPINS = "20000"  # of GNU's OpenMP, which counts turns of a loop
SPIN_MS = "1"  # of LLVM's and Intel's, which take whole milliseconds


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large blocks; True if it listened, False where there is no glibc.

    Otherwise each activation of a batch is fresh memory that the kernel fills with zeros first.
    The process keeps what it needed at its peak.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(
        libc.mallopt(MMAP_THRESHOLD, LARGEST_KEPT) and libc.mallopt(TRIM_THRESHOLD, MOST_KEPT)
    )


def let_idle_threads_sleep() -> None:
    """Let torch's threads sleep soon while they wait for one another; heeded when torch is loaded.

    Spinning on, as OpenMP has it, they keep the workers that decode photos off the processor.
    Asleep at once they take longer to wake than many a layer takes to compute. A policy of the
    user's own stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
        os.environ.setdefault("KMP_BLOCKTIME", SPIN_MS)
