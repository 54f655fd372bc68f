"""The mixed scenario: strict and slow connections together on one server, in an open loop.

Every connection of both classes keeps a timetable, whatever comes back (`benchmark.load.paced`).
The strict ones want an echo; every message of the slow ones orders its handler to work. Each server
gets the same timetable, one server after the other.

No process is pinned to a CPU. A server may use all there are, as Go and Erlang/OTP want to; one
under an interpreter lock uses one of them anyhow, and on whichever is free it is in nobody's way.
The load client, where the system lets it, runs in real time instead, as if it were on a machine of
its own; how late it sent nevertheless is told beside the latencies.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, frozen

from benchmark.idle import holding
from benchmark.load.stream import ECHO
from benchmark.load.timetable import Attendance, Line, Timetable, read_times, split
from benchmark.processes import Server, run_timetable, running_server
from benchmark.servers import ServerKind
from benchmark.timeline import SECOND, Figures, Timeline, lateness
from benchmark.workspace import Workspace

STRICT = 0.010  # seconds, what every server's first listener declares for its connections
SLOW = 1.0  # and its second
BEFORE_THE_END = 0.3  # seconds, when all connections are still there
SETTLING = 2.0  # seconds for a server to find out who is slow where nobody says so
SPREAD = 0.1  # 10 % apart, two connections of 4 that work 20 ms have met in all ways in a second
WORK, GARBAGE = "!", "G"  # openings of `benchmark.peers.work`
DECLARE = f"L{STRICT:.3f} "


@frozen(kw_only=True)
class Mixed:
    """What to measure.

    Args:
        transport: The URL scheme of both listeners.
        strict: Connections to the first listener.
        strict_rate: Messages a second that each of them sends.
        slow: Connections whose every message orders work.
        work: What kind: ``compute``, ``sleep`` or ``both``.
        hold: How much for each message, seconds.
        slow_load: What all slow connections together ask for, as a share of the time of one
            handler after the other; from 1 on, one thread can never be done with it.
        alike: Whether the slow ones connect to the first listener like everybody.
        lower_after: When another connection to the second listener, which sends as a strict one
            does, declares `STRICT`, seconds after the start; None for no such connection.
        idle: Further connections to the first listener that say nothing.
        garbage: Whether strict messages have their handlers leave cyclic garbage.
        size: Payload of a message, bytes.
        seconds: Measured for each server.
        warmup: Seconds of load before.
        seed: Of the times due.
    """

    transport: str
    strict: int
    strict_rate: float
    slow: int
    work: str
    hold: float
    slow_load: float
    alike: bool
    lower_after: float | None
    idle: int
    garbage: bool
    size: int
    seconds: float
    warmup: float
    seed: int

    @property
    def length(self) -> float:
        """Seconds from the start to the last message due."""
        return self.warmup + self.seconds

    @property
    def listening(self) -> float:
        """Seconds from the start to the end: what is unanswered then has missed any promise."""
        return self.length + SLOW

    def traffic(self, urls: list[str]) -> list[Traffic]:
        """Who sends what and when to a server with these listeners."""
        random = Random(self.seed)
        first, second = urls[0], urls[-1]
        opening = GARBAGE if self.garbage else ECHO
        found = [
            Traffic(
                name="strict",
                line=Line(url=first, messages=0, opening=opening),
                due=self._evenly(self.strict, 1 / self.strict_rate),
            ),
            Traffic(
                name="slow",
                line=Line(url=first if self.alike else second, messages=0, opening=WORK),
                due=self._unevenly(self.slow, self._slow_interval, random),
            ),
        ]
        if self.lower_after is not None:
            due = self._evenly(1, 1 / self.strict_rate)
            number = sum(at < self.lower_after * SECOND for at in due[0])
            line = Line(url=second, messages=0, exception=(number, DECLARE))
            found.append(Traffic(name="lowering", line=line, due=due))
        return [traffic for traffic in found if traffic.due]

    def windows(self) -> Iterator[tuple[str, str, float, float, float]]:
        """The rows of a report: name, whose messages, declared, since when and until when."""
        end = self.length
        if self.alike:
            settled = max(self.warmup, SETTLING)
            yield f"strict to {settled:g} s", "strict", STRICT, 0.0, settled
            yield f"strict from {settled:g} s", "strict", STRICT, settled, end
        else:
            settled = self.warmup
            yield "strict", "strict", STRICT, settled, end
        yield "slow", "slow", self.declares("slow"), settled, end
        if self.lower_after is not None:
            lowered = self.lower_after
            yield "before lowering", "lowering", SLOW, self.warmup, lowered
            yield "1 s after", "lowering", STRICT, lowered, lowered + 1
            yield "then", "lowering", STRICT, lowered + 1, end

    def declarations(self, name: str) -> list[tuple[float, float, float]]:
        """What a kind of `Traffic` declares, since when and until when."""
        end = self.length
        if name == "lowering" and self.lower_after is not None:
            return [(SLOW, 0.0, self.lower_after), (STRICT, self.lower_after, end)]
        return [(SLOW if name == "slow" and not self.alike else STRICT, 0.0, end)]

    def declares(self, name: str) -> float:
        """What a kind of `Traffic` declares in the end."""
        return self.declarations(name)[-1][0]

    @property
    def _slow_interval(self) -> float:
        return self.slow * self.hold / self.slow_load

    def _evenly(self, connections: int, interval: float) -> list[array[int]]:
        """Each at a fixed rate, and all of them together too."""
        return [
            self._times(interval, interval * number / connections) for number in range(connections)
        ]

    def _unevenly(self, connections: int, interval: float, random: Random) -> list[array[int]]:
        """Each at a fixed rate of its own, so that in the course of a run they meet in every way.

        The rates are spread evenly over `SPREAD` to either side of the one asked for.
        """
        rates = [
            (1 + SPREAD * (2 * number / max(1, connections - 1) - 1) * (connections > 1)) / interval
            for number in range(connections)
        ]
        return [self._times(1 / rate, random.random() / rate) for rate in rates]

    def _times(self, interval: float, first: float) -> array[int]:
        count = max(0, round((self.length - first) / interval))
        return array("q", (round((first + interval * n) * SECOND) for n in range(count)))


@frozen(kw_only=True)
class Traffic:
    """Connections that send alike.

    Args:
        name: What reports call them.
        line: What each of them sends.
        due: When, for each connection.
    """

    name: str
    line: Line
    due: list[array[int]]


@define(kw_only=True)
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
        lines=[
            Line(
                url=each.line.url,
                messages=len(times),
                opening=each.line.opening,
                exception=each.line.exception,
            )
            for each in traffic
            for times in each.due
        ],
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
