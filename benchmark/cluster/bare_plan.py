"""What a side of a bare library is asked to do and what it answers."""

from __future__ import annotations

from attrs import frozen

from benchmark.histogram import Histogram


@frozen(kw_only=True)
class BarePlan:
    """One side's part in a run.

    Args:
        library: One of `benchmark.cluster.libraries.LIBRARIES`.
        where: Where its broker is.
        side: 0 or 1.
        pairs: Subjects of each side.
        size: Payload of a message, bytes.
        in_flight: Messages that each subject of a side begins with in the closed loop, in which one
            that has come lets the next go to the other side; None for the open loop.
        rate: Messages a second to each subject in the open loop.
        warmup: Seconds of load before measuring.
        seconds: Measured.
    """

    library: str
    where: str
    side: int
    pairs: int
    size: int
    in_flight: int | None
    rate: float
    warmup: float
    seconds: float


@frozen(kw_only=True)
class BareResult:
    """What one side got.

    Args:
        messages: How many came within the measured time.
        lost: How many of the open loop never came.
        elapsed: The time measured, seconds.
        cpu: The process's CPU time over it, 1 for one CPU.
        buckets: Latencies of the open loop, from when a message was due, `Histogram.sparse`.
        maximum: The longest of them, nanoseconds.
    """

    messages: int
    lost: int
    elapsed: float
    cpu: float
    buckets: list[tuple[int, int]]
    maximum: int

    @property
    def histogram(self) -> Histogram:
        """The latencies, nanoseconds."""
        return Histogram.from_sparse(self.buckets, self.maximum)
