"""One run of the closed loop: open, warm up, measure, and let what is under way come home."""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import evolve

from benchmark.load.client import LoadClient, LoadError, Stalled
from benchmark.load.connect import open_all
from benchmark.load.dialing import Dialer
from benchmark.load.native import NativeClient
from benchmark.load.plan import Plan, Result
from benchmark.load.selecting import SelectingClient
from benchmark.load.stream import TWINS, build_stream, build_text_streams
from benchmark.usage import Clocks

SLICE = 100_000_000  # nanoseconds between two looks at progress, stalls and signals


def open_client(plan: Plan) -> LoadClient:
    """Open the connections of a plan, in the client that can drive them.

    Raises:
        LoadError: A connection could not be opened.
    """
    if plan.handshakes:
        return Dialer(plan)
    opened = open_all(plan.urls, plan.certificate, plan.library, deflate=plan.deflate)
    channels, count = opened.channels, plan.connections
    if opened.deflate is None:
        streams = [build_stream(plan.transport, plan.size, plan.in_flight)] * count
        firsts = list(range(count))
    else:
        few = build_text_streams(plan.size, opened.deflate, plan.in_flight)
        streams = [few[number % len(few)] for number in range(count)]
        firsts = [0] * count
    if plan.twin_url is not None:  # who gets back what it sent itself is found out, too
        if plan.library is None or count % 2 or plan.deflate:
            raise LoadError("twins are in pairs, and driven by the client in C, uncompressed")
        one, other = (
            build_stream(plan.transport, plan.size, plan.in_flight, opening) for opening in TWINS
        )
        pair = [evolve(one, reply=other.reply), evolve(other, reply=one.reply)]
        streams, firsts = pair * (count // 2), [number // 2 for number in range(count)]
        return NativeClient(plan.library, channels, streams, firsts, plan.in_flight, twins=True)
    if plan.library is None:
        return SelectingClient(channels, streams, firsts, plan.in_flight)
    return NativeClient(plan.library, channels, streams, firsts, plan.in_flight)


def run(
    plan: Plan,
    progress: Callable[[float, int], None],
    connected: Callable[[], None] = lambda: None,
) -> Result:
    """Carry out a plan.

    Args:
        plan: What to do.
        progress: Called ten times a second with the seconds since the load began and the
            messages so far.
        connected: Called when every connection is open; the load begins when it returns.

    Returns:
        Messages a second counts what came within the measured time; the latencies also hold what
        was sent within it and came later.

    Raises:
        LoadError: The load could not be brought to its end.
    """
    client = open_client(plan)
    try:
        connected()
        drive = _Drive(client, plan.stall, progress)
        drive.until(plan.warmup)
        client.histogram.clear()
        first, started, cpu = client.messages, time.monotonic(), Clocks.read(plan.server_pid)
        drive.until(plan.warmup + plan.seconds)
        last, ended = client.messages, time.monotonic()
        used = Clocks.read(plan.server_pid).since(cpu, ended - started)
        drive.until_all_came()
    finally:
        client.close()
    return Result(
        client=client.name,
        messages=last - first,
        elapsed=ended - started,
        client_cpu=used.client,
        server_cpu=used.server,
        other_cpu=used.other,
        buckets=client.histogram.sparse(),
        maximum=client.histogram.maximum,
        negotiated=client.negotiated,
    )


class _Drive:
    """A client driven in slices, each followed by a look at progress and stalls."""

    def __init__(
        self, client: LoadClient, stall: float, progress: Callable[[float, int], None]
    ) -> None:
        self._client = client
        self._stall = stall
        self._progress = progress
        self._began = time.monotonic_ns()

    def until(self, seconds: float) -> None:
        """Go on until so many seconds after the beginning."""
        end = self._began + round(seconds * 1e9)
        while (now := time.monotonic_ns()) < end:
            self._slice(min(now + SLICE, end))

    def until_all_came(self) -> None:
        """Send nothing new, and wait for what is owed."""
        self._client.stop_sending()
        while self._client.outstanding:
            self._slice(time.monotonic_ns() + SLICE)

    def _slice(self, until: int) -> None:
        self._client.run(until)
        now = time.monotonic_ns()
        self._progress((now - self._began) / 1e9, self._client.messages)
        silent = self._client.silent_since(now - round(self._stall * 1e9))
        if silent is not None:
            raise Stalled(silent, self._stall)
