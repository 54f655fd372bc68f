"""Messages between the clients of two servers, beside those of one, and beside the bare library.

Clients are twins: what one sends comes back on the other, which is connected to the other server,
and both do. One process has them all, so one clock tells how long each message took; it compares
every byte. In the open loop a message counts from when it was due; in the closed loop one that has
come lets the next go, and so many are under way. Strict connections, which declare 10 ms, want
echoes from both servers meanwhile, in an open loop.

The same clients on one server without a backplane are what is subtracted; two processes with
nothing but the broker's client library, which publish the same messages to each other by subject,
are what is compared with. Of both comparisons each server, or side, is pinned to a CPU of its own
where there are two: a process that is one interpreter uses no more than one, and how the system
moved its threads between them was most of what differed from round to round. The clients and the
broker go where there is room.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path

from attrs import frozen

from benchmark.cluster.backplanes import Fabric
from benchmark.errors import BenchmarkError
from benchmark.load.plan import Plan
from benchmark.load.stream import TWINS
from benchmark.load.timetable import Line, Timetable, read_times, split
from benchmark.peers.foreman_server import STRICT
from benchmark.processes import Server, choose_cpus, run_load, run_timetable, running_server
from benchmark.servers import ServerKind
from benchmark.timeline import SECOND, Figures, Timeline
from benchmark.usage import cpu_seconds
from benchmark.workspace import Workspace

CLUSTER = ServerKind(name="cluster", requires="netserver", transports=("ws",))
TWIN, ECHO, MEMBER, PROBER = range(4)  # its listeners
LISTENERS = 4

ALONE = "one server"
OURS, BARE = "ours", "bare"
LISTENING = 1.0  # seconds after the last message that is due

Note = Callable[[float, int], None]


@frozen(kw_only=True)
class Crossings:
    """What to measure.

    Args:
        pairs: Twins.
        in_flight: Messages that each client has under way in the closed loop.
        rate: Messages a second that each client sends in the open loop.
        size: Payload of a message, bytes.
        strict: Strict connections to each server.
        strict_rate: Messages a second that each of them sends.
        seconds: Measured in each loop.
        warmup: Seconds of load before.
    """

    pairs: int
    in_flight: int
    rate: float
    size: int
    strict: int
    strict_rate: float
    seconds: float
    warmup: float

    @property
    def length(self) -> float:
        """Seconds of load of one turn, which has both loops."""
        return 2 * (self.warmup + self.seconds)

    def cpu(self, rate: float, used: float, broker: float) -> dict[str, float]:
        """CPU time of each message in the closed loop, seconds.

        Args:
            rate: Messages a second.
            used: CPU time of both servers, or both sides, in all of the loop, seconds.
            broker: The same of the broker.

        Raises:
            BenchmarkError: There was no message.
        """
        if not rate:
            raise BenchmarkError("in the closed loop no message came to the other side")
        messages = rate * (self.warmup + self.seconds)
        return {"cpu_seconds": used / messages, "broker_cpu_seconds": broker / messages}

    def due(self, connections: int, rate: float) -> list[array[int]]:
        """When each of so many sends, nanoseconds after the start: all of them evenly."""
        gap, count = 1 / rate, round((self.warmup + self.seconds) * rate)
        return [
            array("q", (round((n + number / connections) * gap * SECOND) for n in range(count)))
            for number in range(connections)
        ]


@frozen(kw_only=True)
class Turn:
    """What one side of the comparison came to in one round.

    Args:
        round: Which one, from 1.
        backplane: Its name; `ALONE` for one server without any.
        side: `OURS` or `BARE`.
        figures: Messages a second, seconds, shares of a CPU.
    """

    round: int
    backplane: str
    side: str
    figures: dict[str, float]


class Clocks:
    """CPU time of some processes, and of the broker, seconds.

    Args:
        pids: The processes.
        fabric: Whose broker; None for none.
    """

    def __init__(self, pids: Sequence[int], fabric: Fabric | None) -> None:
        self._pids = pids
        self._broker = [] if fabric is None or fabric.pid is None else [fabric.pid]
        self.start()

    def start(self) -> None:
        """Begin now."""
        self._before = self._read()

    def used(self) -> tuple[float, float]:
        """What they took since then, and what the broker did."""
        (now, broker), (then, its) = self._read(), self._before
        return now - then, broker - its

    def _read(self) -> tuple[float, float]:
        used, broker = (
            sum(cpu_seconds(pid) or 0.0 for pid in pids) for pids in (self._pids, self._broker)
        )
        return used, broker


@asynccontextmanager
async def servers(
    urls: Sequence[str | None],
    workspace: Workspace,
    *options: str,
    cpus: Sequence[int | None] = (),
) -> AsyncIterator[list[Server]]:
    """A process with a server for each of these backplanes' URLs, one after the other.

    Args:
        urls: Of the backplane, for each server; None for a server without.
        workspace: Where their files are.
        options: Further ones of each of their programs.
        cpus: What to pin each of them to; None, and those behind the end, to nothing.
    """
    if not urls:
        yield []
        return
    arguments = [*options] if urls[0] is None else ["--cluster", urls[0], *options]
    cpu = cpus[0] if cpus else None
    async with (
        running_server(CLUSTER, "ws", workspace, cpu, arguments) as first,
        servers(urls[1:], workspace, *options, cpus=cpus[1:]) as others,
    ):
        yield [first, *others]


async def run_ours(
    plan: Crossings, fabric: Fabric | None, workspace: Workspace, progress: Note
) -> dict[str, float]:
    """Two servers on a backplane, or one without any, in the open and then the closed loop.

    Raises:
        BenchmarkError: A message was torn, doubled or out of order, or something failed.
    """
    urls = [None] if fabric is None else fabric.join(2)
    async with servers(urls, workspace, cpus=choose_cpus()) as running:
        figures = await _open_loop(plan, running, workspace, progress)
        before = plan.length / 2

        def later(seconds: float, messages: int) -> None:
            progress(before + seconds, messages)

        return {**figures, **await _closed_loop(plan, fabric, running, workspace, later)}


async def _open_loop(
    plan: Crossings, running: list[Server], workspace: Workspace, progress: Note
) -> dict[str, float]:
    first, last = running[0].urls, running[-1].urls
    lines, due = [], []
    for pair, times in enumerate(plan.due(plan.pairs, plan.rate)):
        for number, urls in enumerate((first, last)):  # twins send at one time
            url = f"{urls[TWIN]}/{2 * pair + number}"
            line = Line(
                url=url,
                messages=len(times),
                opening=TWINS[number],
                replies=TWINS[1 - number],
                first=pair,
            )
            lines.append(line)
            due.append(times)
    found = await _keep(plan, running, lines, due, workspace, progress)
    crossed = found.pop(0)
    return {
        "p50_seconds": crossed.percentile(50),
        "p99_seconds": crossed.percentile(99),
        "max_seconds": crossed.maximum,
        "lost": float(crossed.unanswered),
        **_strict("open", found),
    }


async def _closed_loop(
    plan: Crossings,
    fabric: Fabric | None,
    running: list[Server],
    workspace: Workspace,
    progress: Note,
) -> dict[str, float]:
    load = Plan(
        url=running[0].urls[TWIN],
        twin_url=running[-1].urls[TWIN],
        connections=2 * plan.pairs,
        in_flight=plan.in_flight,
        size=plan.size,
        warmup=plan.warmup,
        seconds=plan.seconds,
        library=workspace.library,
    )
    both = asyncio.Barrier(2)
    clocks = Clocks([server.child.pid for server in running], fabric)

    async def begin() -> None:
        await both.wait()
        clocks.start()

    crossing = asyncio.create_task(run_load(load, None, progress, begin))
    echoing = asyncio.create_task(_keep(plan, running, [], [], workspace, ignore, both.wait))
    try:
        result = await crossing
        used = clocks.used()
        _, *echoed = await echoing
    finally:
        for task in (crossing, echoing):  # one that waits for the other, which has failed
            task.cancel()
        await asyncio.wait([crossing, echoing])
    rate = result.messages / result.elapsed
    return {
        "messages_per_second": rate,
        "client_cpu": result.client_cpu,
        **plan.cpu(rate, *used),
        **_strict("closed", echoed),
    }


async def _keep(
    plan: Crossings,
    running: list[Server],
    lines: list[Line],
    due: list[array[int]],
    workspace: Workspace,
    progress: Note,
    ready: Callable[[], Awaitable[object]] | None = None,
) -> list[Figures]:
    """Keep a timetable, with the strict connections of all servers behind these lines.

    Returns:
        What was measured on the lines, all together, and on each server's strict connections.
    """
    strict = plan.due(plan.strict, plan.strict_rate)
    groups = [due, *[strict] * len(running)]
    for server in running:
        lines = [*lines, *(Line(url=server.urls[ECHO], messages=len(times)) for times in strict)]
    due_file, answers = workspace.directory / "due", workspace.directory / "answers"
    due_file.write_bytes(b"".join(times.tobytes() for times in chain.from_iterable(groups)))
    timetable = Timetable(
        lines=lines,
        due=str(due_file),
        answers=str(answers),
        size=plan.size,
        seconds=plan.warmup + plan.seconds + LISTENING,
        library=workspace.library,
    )
    attendance = await run_timetable(timetable, None, progress, ready)
    end = round(attendance.elapsed * SECOND)
    counts = [sum(map(len, group)) for group in groups]
    times = split(read_times(Path(answers)), counts * 2)
    found = []
    for number, group in enumerate(groups):
        taken, heard = times[number], times[len(groups) + number]
        timeline = Timeline([*chain.from_iterable(group)], taken, heard, end)
        found.append(Figures.of(timeline.within(plan.warmup), STRICT))
    return found


def ignore(_seconds: float, _messages: int) -> None:
    """Something else that goes on meanwhile has its progress shown."""


def _strict(loop: str, echoed: Sequence[Figures]) -> dict[str, float]:
    """What the strict connections got, the worse of the servers."""
    return {
        f"strict_{loop}_{name}_seconds": max(figures.percentile(percent) for figures in echoed)
        for name, percent in (("p50", 50), ("p99", 99), ("max", 100))
    }
