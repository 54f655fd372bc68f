"""What the C library does with memory that is freed."""

from __future__ import annotations

_BLOCK = 2 * 1024 * 1024


def keep_freed_memory() -> None:
    """Have the allocator keep freed blocks of up to 2 MiB for the next message, any thread.

    By default glibc asks the system for each block of more than 128 KiB, and gives it back when it
    is freed; the page faults made a message of 256 KiB take 630 microseconds to receive instead of
    18. It raises that size to the largest block it has seen freed (``M_MMAP_THRESHOLD`` in
    mallopt(3)), and then keeps up to twice as much at the end of each heap. Elsewhere this does
    nothing.
    """
    bytearray(_BLOCK)
