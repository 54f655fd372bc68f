"""A histogram of durations with buckets of equal relative width.

The layout is the one of HdrHistogram (Gil Tene, hdrhistogram.org): 128 buckets to every power of
two, so no value is off by more than 1/128, and recording is a shift and an addition.
`load/load.c` has the same layout and writes into the same memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from math import ceil

SUB_BITS = 7
LONGEST = (1 << 42) - 1  # 73 minutes in nanoseconds: beyond every time-out of the benchmark
BUCKETS = (42 - SUB_BITS + 1) << SUB_BITS


def bucket_of(value: int) -> int:
    """The bucket that `value` falls into; values over `LONGEST` fall into the last one."""
    value = min(value, LONGEST)
    shift = max(0, value.bit_length() - SUB_BITS - 1)
    return (shift << SUB_BITS) + (value >> shift)


def highest_in(bucket: int) -> int:
    """The largest value that falls into `bucket`."""
    shift = max(0, (bucket >> SUB_BITS) - 1)
    return ((bucket - (shift << SUB_BITS) + 1) << shift) - 1


class Histogram:
    """How often each duration was seen. Not thread-safe.

    Attributes:
        counts: One unsigned 64-bit count per bucket; its memory never moves.
        maximum: The longest duration recorded, exactly, nanoseconds.
    """

    __slots__ = ("counts", "maximum")

    def __init__(self) -> None:
        self.counts = array("Q", bytes(8 * BUCKETS))
        self.maximum = 0

    def record(self, value: int, count: int = 1) -> None:
        """Count a duration, nanoseconds, `count` times.

        Raises:
            ValueError: It is negative: a clock went backwards, or two clocks were mixed.
        """
        if value < 0:
            raise ValueError(f"a duration of {value} ns cannot be")
        self.counts[bucket_of(value)] += count
        if value > self.maximum:
            self.maximum = value

    def clear(self) -> None:
        """Forget everything."""
        self.counts[:] = array("Q", bytes(8 * BUCKETS))
        self.maximum = 0

    @property
    def total(self) -> int:
        """How many durations were recorded."""
        return sum(self.counts)

    def percentile(self, percent: float) -> int:
        """The duration that `percent` of all did not exceed, nanoseconds.

        It is the nearest-rank percentile, rounded up to the end of its bucket: never below the
        true one, and at most 1/128 above it. 0 when nothing was recorded.
        """
        rank = max(1, ceil(percent / 100 * self.total))
        for bucket, count in enumerate(self.counts):
            rank -= count
            if count and rank <= 0:
                return min(highest_in(bucket), self.maximum)
        return self.maximum

    def share_within(self, value: int) -> float:
        """Which share of all durations did not exceed `value` (its bucket's end), 0 to 1."""
        if value >= self.maximum:
            return 1.0
        return sum(self.counts[: bucket_of(value) + 1]) / self.total

    def sparse(self) -> list[tuple[int, int]]:
        """The buckets in use as ``(highest value, count)``, for JSON."""
        return [(highest_in(b), count) for b, count in enumerate(self.counts) if count]

    @classmethod
    def from_sparse(cls, buckets: Iterable[tuple[int, int]], maximum: int) -> Histogram:
        """What `sparse` wrote, read again."""
        histogram = cls()
        for value, count in buckets:
            histogram.record(value, count)
        histogram.maximum = maximum
        return histogram
