"""What an audience of broadcasts is asked to do and what it answers."""

from __future__ import annotations

from attrs import field, frozen, validators

from benchmark.histogram import Histogram
from benchmark.load.plan import known_transport, positive

SMALLEST = 8  # bytes of a message, for those of a ring to differ


@frozen(kw_only=True)
class AudiencePlan:
    """One run.

    Args:
        url: Where the server listens that sends to all what one of them sends.
        connections: How many to open; the first one publishes.
        outstanding: Messages under way at a time: one that has reached everybody lets the next
            one go.
        size: Payload of a message, bytes.
        warmup: Seconds of the same load before measuring.
        seconds: Seconds of measuring.
        stall: Seconds that all may owe us a message without sending anything.
        library: The compiled `audience.c`.
        server_pid: Whose CPU time to measure beside our own, or None.
    """

    url: str = field(validator=known_transport)
    connections: int = field(validator=positive)
    outstanding: int = field(default=1, validator=positive)
    size: int = field(default=128, validator=validators.ge(SMALLEST))
    warmup: float = field(default=1.0, validator=validators.ge(0))
    seconds: float = field(default=5.0, validator=positive)
    stall: float = field(default=10.0, validator=positive)
    library: str
    server_pid: int | None = None

    @property
    def transport(self) -> str:
        """The URL's scheme."""
        return self.url.partition(":")[0]


@frozen(kw_only=True)
class Reception:
    """What one run measured.

    Args:
        deliveries: Messages that came within `elapsed`, on all connections together, every byte
            of them compared.
        broadcasts: Messages that everybody got within it.
        elapsed: Seconds measured.
        client_cpu: CPU time of the audience's process over `elapsed`; at 1.0 it was the bottleneck.
        server_cpu: The same of the server's process, all its threads; None where unknown.
        buckets: The times from publishing a message to its last delivery, `Histogram.sparse`.
        maximum: The longest of them, nanoseconds.
    """

    deliveries: int
    broadcasts: int
    elapsed: float
    client_cpu: float
    server_cpu: float | None
    buckets: list[tuple[int, int]]
    maximum: int

    @property
    def histogram(self) -> Histogram:
        """The times to the last delivery, nanoseconds."""
        return Histogram.from_sparse(self.buckets, self.maximum)
