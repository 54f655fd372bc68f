"""The audience of broadcasts as a process: a plan on standard input, as `benchmark.load.talk` says.

One of many connections publishes, and the server is to send what it publishes to all of them. Every
delivery is compared with what must come next on its connection, so that none can be lost, doubled,
torn or out of order.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from attrs import asdict, field, frozen, validators

from benchmark.histogram import Histogram
from benchmark.load.client import Stalled
from benchmark.load.connect import connect_all
from benchmark.load.native_audience import Audience
from benchmark.load.plan import known_transport, positive
from benchmark.load.run import SLICE
from benchmark.load.stream import build_stream
from benchmark.load.talk import answer
from benchmark.usage import cpu_seconds

SMALLEST = 8  # bytes of a message, for those of a ring to differ
ENCORE = 50_000_000  # nanoseconds to listen after the last delivery for what nobody asked for


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


def run(
    plan: AudiencePlan,
    progress: Callable[[float, int], None],
    connected: Callable[[], None] = lambda: None,
) -> Reception:
    """Carry out a plan.

    Args:
        plan: What to do.
        progress: Called ten times a second with the seconds since the load began and the
            deliveries so far.
        connected: Called when every connection is open; the load begins when it returns.

    Raises:
        LoadError: A connection could not be opened, ended, or got something else than what was
            published next, or nothing for `stall` seconds.
    """
    stream = build_stream(plan.transport, plan.size, plan.outstanding + 1)
    sockets = connect_all([plan.url] * plan.connections, None)
    audience = Audience(plan.library, sockets, stream, plan.outstanding)
    try:
        connected()
        began = time.monotonic_ns()

        def listen(until: int) -> None:
            while (now := time.monotonic_ns()) < until:
                audience.run(min(now + SLICE, until))
                now = time.monotonic_ns()
                progress((now - began) / 1e9, audience.deliveries)
                silent = audience.silent_since(now - round(plan.stall * 1e9))
                if silent is not None:
                    raise Stalled(silent, plan.stall)

        warm = began + round(plan.warmup * 1e9)
        listen(warm)
        audience.histogram.clear()
        before = _Counts.read(audience, plan.server_pid)
        listen(warm + round(plan.seconds * 1e9))
        after = _Counts.read(audience, plan.server_pid)
        audience.stop_publishing()
        while audience.under_way:
            listen(time.monotonic_ns() + SLICE // 10)
        listen(time.monotonic_ns() + ENCORE)
    finally:
        audience.close()
    elapsed = after.at - before.at
    server = None
    if after.server is not None and before.server is not None:
        server = (after.server - before.server) / elapsed
    return Reception(
        deliveries=after.deliveries - before.deliveries,
        broadcasts=after.broadcasts - before.broadcasts,
        elapsed=elapsed,
        client_cpu=(after.client - before.client) / elapsed,
        server_cpu=server,
        buckets=audience.histogram.sparse(),
        maximum=audience.histogram.maximum,
    )


@frozen
class _Counts:
    """What has come, and CPU seconds used, up to a moment."""

    at: float
    deliveries: int
    broadcasts: int
    client: float
    server: float | None

    @classmethod
    def read(cls, audience: Audience, server_pid: int | None) -> _Counts:
        server = None if server_pid is None else cpu_seconds(server_pid)
        return cls(
            time.monotonic(), audience.deliveries, audience.completed, time.process_time(), server
        )


def main() -> int:
    """Carry out the plan that standard input holds; the exit status is 1 when that failed."""

    def carry_out(
        plan: Any, progress: Callable[[float, int], None], connected: Callable[[], None]
    ) -> dict[str, Any]:
        return asdict(run(AudiencePlan(**plan), progress, connected))

    return answer(carry_out)


if __name__ == "__main__":
    sys.exit(main())
