"""The broadcast scenario: one message to thousands, while a strict class wants its echoes.

Every server sends what one connection of its first listener sends to all connections of it. On the
second listener strict connections keep a timetable meanwhile, as in `benchmark.mixed`, so that it
shows what broadcasts cost everybody else.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from attrs import frozen

from benchmark.load.audience_plan import AudiencePlan, Reception
from benchmark.load.timetable import Attendance, Line, Timetable, read_times, split
from benchmark.processes import (
    Server,
    choose_cpus,
    run_audience,
    run_timetable,
    running_server,
)
from benchmark.servers import OURS, SERVERS, ServerKind
from benchmark.timeline import SECOND, Figures, Timeline
from benchmark.workspace import Workspace

STRICT = 0.010  # seconds, what our server's strict connections declare
STALL = 10.0  # seconds that nobody may get anything while something is under way
LISTENING = 1.0  # seconds after the last strict message was due


class Broadcaster(ServerKind):
    """A server in the program that broadcasts instead of echoing."""

    @property
    def program(self) -> str:
        return f"benchmark.peers.{self.name}_broadcaster"


# Over WebSocket only: a connection that is open here is open there, too, and belongs to the
# audience, which without a handshake nobody could tell.
BROADCASTERS = {
    name: Broadcaster(
        name=name,
        requires=SERVERS[name].requires,
        transports=tuple(t for t in SERVERS[name].transports if t in ("ws", "ws+unix")),
    )
    for name in (OURS, "picows", "websockets", "aiohttp")
}


@frozen(kw_only=True)
class Broadcasts:
    """What to measure.

    Args:
        transport: The URL scheme that every server listens on.
        servers: The server under test first, then its peers.
        connections: The audience; one of them publishes.
        outstanding: Messages under way at a time.
        size: Payload of a message, bytes.
        nodes: How many nodes our server spreads the audience over; None for the Foreman to decide.
        strict: Strict connections to the second listener; 0 for none.
        strict_rate: Messages a second that each of them sends.
        seconds: Measured in each run.
        warmup: Seconds of load before each measurement.
        rounds: How often each server has its turn.
    """

    transport: str
    servers: Sequence[ServerKind]
    connections: int
    outstanding: int
    size: int
    nodes: int | None
    strict: int
    strict_rate: float
    seconds: float
    warmup: float
    rounds: int

    def turns(self) -> list[tuple[int, ServerKind]]:
        """Rounds and servers in the order in which they run; each round begins with another."""
        count = len(self.servers)
        return [
            (number + 1, self.servers[(number + turn) % count])
            for number in range(self.rounds)
            for turn in range(count)
        ]

    def due(self) -> list[array[int]]:
        """When each strict connection's messages are due, nanoseconds after the start."""
        gap = 1 / self.strict_rate
        count = round((self.warmup + self.seconds) * self.strict_rate)
        return [
            array("q", (round((n + number / self.strict) * gap * SECOND) for n in range(count)))
            for number in range(self.strict)
        ]


@frozen(kw_only=True)
class Turn:
    """One server's turn in one round.

    Args:
        round: Which one.
        server: Its name.
        reception: What the audience got.
        strict: What the strict class got after the warm-up; None without one.
        nodes: The nodes that had connections of the audience at the end; 0 for all but ours.
    """

    round: int
    server: str
    reception: Reception
    strict: Figures | None
    nodes: int

    def figures(self) -> dict[str, float]:
        """What it comes to: counts a second, seconds, shares of a CPU."""
        reception = self.reception
        histogram = reception.histogram
        found = {
            "deliveries_per_second": reception.deliveries / reception.elapsed,
            "broadcasts_per_second": reception.broadcasts / reception.elapsed,
            "p50_seconds": histogram.percentile(50) / 1e9,
            "p99_seconds": histogram.percentile(99) / 1e9,
            "max_seconds": histogram.maximum / 1e9,
            "client_cpu": reception.client_cpu,
            "nodes": float(self.nodes),
        }
        if reception.server_cpu is not None:
            found["server_cpu"] = reception.server_cpu
        if self.strict is not None:
            for percent in (50, 99, 99.9):
                found[f"strict_p{percent:g}_seconds"] = self.strict.percentile(percent)
            found["strict_max_seconds"] = self.strict.maximum
        return found


async def run_turn(
    plan: Broadcasts,
    number: int,
    kind: ServerKind,
    workspace: Workspace,
    progress: Callable[[float, int], None],
) -> Turn:
    """Put a fresh server under fresh clients; it has one CPU, and they have the other.

    Raises:
        BenchmarkError: A delivery was lost, doubled, torn or out of order, or something failed.
    """
    server_cpu, client_cpu = choose_cpus()
    spread = kind.name == OURS and plan.nodes is not None
    options = ("--nodes", str(plan.nodes)) if spread else ()
    async with running_server(kind, plan.transport, workspace, server_cpu, options) as server:
        assert workspace.library is not None
        audience = AudiencePlan(
            url=server.urls[0],
            connections=plan.connections,
            outstanding=plan.outstanding,
            size=plan.size,
            seconds=plan.seconds,
            warmup=plan.warmup,
            stall=STALL,
            library=workspace.library,
            server_pid=server.child.pid,
        )
        late = asyncio.Event()

        def note(seconds: float, deliveries: int) -> None:
            progress(seconds, deliveries)
            if seconds >= plan.warmup + plan.seconds / 2:
                late.set()

        async def look() -> int:
            await late.wait()
            return len((await server.statistics()).get("audience", ()))

        strict: Figures | None = None
        looking = asyncio.create_task(look())
        try:
            if plan.strict:
                reception, strict = await _together(plan, audience, server, workspace, note)
            else:
                reception = await run_audience(audience, client_cpu, note)
            late.set()
            nodes = await looking
        finally:
            looking.cancel()
    return Turn(round=number, server=kind.name, reception=reception, strict=strict, nodes=nodes)


async def _together(
    plan: Broadcasts,
    audience: AudiencePlan,
    server: Server,
    workspace: Workspace,
    progress: Callable[[float, int], None],
) -> tuple[Reception, Figures]:
    """The audience and the strict class, which begin at the same moment."""
    _, cpu = choose_cpus()
    both = asyncio.Barrier(2)
    due = plan.due()
    timetable = _timetable(plan, due, server, workspace)
    listening = asyncio.create_task(run_audience(audience, cpu, progress, both.wait))
    echoing = asyncio.create_task(run_timetable(timetable, cpu, _ignore, both.wait))
    try:
        await asyncio.gather(listening, echoing)
    finally:
        for task in (listening, echoing):  # one that waits for the other, which has failed
            task.cancel()
        await asyncio.wait([listening, echoing])
    return listening.result(), _strict(plan, due, timetable, echoing.result())


def _ignore(_seconds: float, _messages: int) -> None:
    """The audience's progress is shown."""


def _timetable(
    plan: Broadcasts, due: list[array[int]], server: Server, workspace: Workspace
) -> Timetable:
    file = workspace.directory / "due"
    file.write_bytes(b"".join(times.tobytes() for times in due))
    return Timetable(
        lines=[Line(url=server.urls[1], messages=len(times)) for times in due],
        due=str(file),
        answers=str(workspace.directory / "answers"),
        size=plan.size,
        seconds=plan.warmup + plan.seconds + LISTENING,
        library=workspace.library,
        server_pid=server.child.pid,
    )


def _strict(
    plan: Broadcasts, due: list[array[int]], timetable: Timetable, attendance: Attendance
) -> Figures:
    counts = [sum(map(len, due))] * 2
    taken, heard = split(read_times(Path(timetable.answers)), counts)
    times = [at for each in due for at in each]
    timeline = Timeline(times, taken, heard, round(attendance.elapsed * SECOND))
    return Figures.of(timeline.within(plan.warmup), STRICT)


def medians(turns: Iterable[Turn]) -> dict[str, dict[str, float]]:
    """The median of every figure over the rounds, by server."""
    by_server: dict[str, list[dict[str, float]]] = {}
    for turn in turns:
        by_server.setdefault(turn.server, []).append(turn.figures())
    return {
        server: {name: median(found[name] for found in rounds) for name in rounds[0]}
        for server, rounds in by_server.items()
    }
