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

from attrs import asdict, frozen

from benchmark.load.audience_plan import AudiencePlan, Reception
from benchmark.load.client import Stalled
from benchmark.load.connect import connect_all
from benchmark.load.native_audience import Audience
from benchmark.load.run import SLICE
from benchmark.load.stream import build_stream
from benchmark.load.talk import answer
from benchmark.usage import cpu_seconds

ENCORE = 50_000_000  # nanoseconds to listen after the last delivery for what nobody asked for


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
