"""What `prepare_process` asks of the C library."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

LARGE_PIECES = """
import ctypes
from geoseg_cli.process import prepare_process

FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()


class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Counts
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
prepare_process([])
libc.free(libc.malloc(30_000_000))
before = libc.mallinfo2().hblks
libc.malloc(10_000_000)
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other habits")
@pytest.mark.parametrize(("environment", "expected"), [({}, 1), ({"MALLOC_MMAP_THRESHOLD_": "20000000"}, 0)])
def test_freed_memory_goes_back_unless_the_person_says_otherwise(
    environment: dict[str, str], expected: int
) -> None:
    """glibc keeps pieces as large as one that was freed; then 10 MB are no mapping of their own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    result = subprocess.run(
        [sys.executable, "-c", LARGE_PIECES],
        env=inherited | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(result.stdout) == expected
