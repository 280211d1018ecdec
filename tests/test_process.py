import platform

from mkt_search.process import keep_freed_memory


def test_only_glibc_keeps_freed_memory() -> None:
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
