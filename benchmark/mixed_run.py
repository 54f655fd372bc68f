"""Running the mixed scenario, server by server.

No process is pinned to a CPU. A server may use all there are, as Go and Erlang/OTP want to; one
under an interpreter lock uses one of them anyhow, and on whichever is free it is in nobody's way.
The load client, where the system lets it, runs in real time instead, as if it were on a machine of
its own; how late it sent nevertheless is told beside the latencies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from benchmark.idle import holding
from benchmark.load.timetable import Attendance, Timetable, read_times, split
from benchmark.mixed import Mixed, Traffic
from benchmark.processes import Server, run_timetable, running_server
from benchmark.report import QUIET
from benchmark.servers import ServerKind
from benchmark.timeline import SECOND, Figures, Timeline, lateness
from benchmark.workspace import Workspace

BEFORE_THE_END = 0.3  # seconds, when all connections are still there


@frozen(kw_only=True)
class Outcome:
    """What one server came to.

    Args:
        server: Its name.
        mixed: What was measured.
        attendance: How the load went.
        timelines: What each kind of `Traffic` got, by name.
        statistics: What the server told just before the end; empty for all but ours.
    """

    server: str
    mixed: Mixed
    attendance: Attendance
    timelines: dict[str, Timeline]
    statistics: dict[str, Any]

    def figures(self) -> Iterator[tuple[str, Figures]]:
        """The figures of each of the scenario's windows that has messages."""
        for name, whose, declared, since, until in self.mixed.windows():
            if whose in self.timelines and since < until:
                messages = self.timelines[whose].within(since, until)
                yield name, Figures.of(messages, declared)

    @property
    def disturbance(self) -> float:
        """CPUs that other processes used meanwhile; 0 where that is unknown."""
        return self.attendance.other_cpu or 0.0

    @property
    def lateness(self) -> Figures:
        """How late the load client was."""
        return lateness(list(self.timelines.values()))

    def events(self, *kinds: str) -> list[tuple[float, dict[str, Any]]]:
        """What happened on the server, of these kinds, with seconds after the start of the load."""
        offset = self.statistics.get("started", 0.0) - self.attendance.started
        return [
            (event["at"] + offset, event)
            for event in self.statistics.get("events", ())
            if event["kind"] in kinds
        ]


async def undisturbed(turn: Callable[[], Awaitable[Outcome]], tries: int) -> Outcome:
    """Give a server its turn until nothing else disturbs it, so many times at most.

    Returns:
        The outcome that was disturbed least, however good or bad it is.
    """
    outcomes = []
    for _ in range(tries):
        outcomes.append(await turn())
        if outcomes[-1].disturbance <= QUIET:
            break
    return min(outcomes, key=lambda outcome: outcome.disturbance)


async def run_server(
    mixed: Mixed,
    kind: ServerKind,
    arguments: tuple[str, ...],
    workspace: Workspace,
    progress: Callable[[float, int], None],
) -> Outcome:
    """Put a fresh server under the load.

    Args:
        mixed: What to measure.
        kind: The server.
        arguments: Further options of its program.
        workspace: Where the files are.
        progress: Called with the seconds since the load began and the replies so far.

    Raises:
        BenchmarkError: The server or the load failed.
    """
    options = ("--work", mixed.work, "--hold", str(mixed.hold), *arguments)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            running_server(kind, mixed.transport, workspace, None, options)
        )
        if mixed.idle:
            await stack.enter_async_context(holding(server, mixed.idle, workspace))
        traffic = mixed.traffic(server.urls)
        timetable = _write(mixed, traffic, server, workspace)
        attendance, statistics = await _attend(mixed, timetable, server, progress)
    return Outcome(
        server=kind.name,
        mixed=mixed,
        attendance=attendance,
        timelines=dict(_read(traffic, timetable, attendance)),
        statistics=statistics,
    )


async def _attend(
    mixed: Mixed,
    timetable: Timetable,
    server: Server,
    progress: Callable[[float, int], None],
) -> tuple[Attendance, dict[str, Any]]:
    """Run the load, and ask for the statistics while the last messages are under way."""
    late = asyncio.Event()

    def note(seconds: float, messages: int) -> None:
        progress(seconds, messages)
        if seconds >= mixed.length - BEFORE_THE_END:
            late.set()

    async def ask() -> dict[str, Any]:
        await late.wait()
        return await server.statistics()

    asking = asyncio.create_task(ask())
    try:
        attendance = await run_timetable(timetable, None, note)
        late.set()  # a timetable of few messages ends before
        return attendance, await asking
    finally:
        asking.cancel()


def _write(mixed: Mixed, traffic: list[Traffic], server: Server, workspace: Workspace) -> Timetable:
    due, answers = workspace.directory / "due", workspace.directory / "answers"
    due.write_bytes(b"".join(times.tobytes() for each in traffic for times in each.due))
    return Timetable(
        lines=[evolve(each.line, messages=len(times)) for each in traffic for times in each.due],
        due=str(due),
        answers=str(answers),
        size=mixed.size,
        seconds=mixed.listening,
        certificate=workspace.authority,
        library=workspace.library,
        server_pid=server.child.pid,
    )


def _read(
    traffic: list[Traffic], timetable: Timetable, attendance: Attendance
) -> Iterator[tuple[str, Timeline]]:
    counts = [sum(map(len, each.due)) for each in traffic]
    answers = split(read_times(Path(timetable.answers)), counts * 2)
    end = round(attendance.elapsed * SECOND)
    for number, each in enumerate(traffic):
        due = [at for times in each.due for at in times]
        taken, heard = answers[number], answers[len(traffic) + number]
        yield each.name, Timeline(due, taken, heard, end)
