"""One of two servers is killed, and all of its clients connect to the other one at once.

A client is served again when it has its echo, when a message that a third server sends to its
identity has found it, and when it has got one that the third server sends to its group. Strict
connections to the remaining server, which declare 10 ms, want echoes all the time. That server has
a CPU, as in the other benchmarks; the clients, the other servers and the broker have another one.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import chain
from pathlib import Path

from attrs import asdict, frozen

from benchmark.bars import Bar
from benchmark.cluster.backplanes import Fabric
from benchmark.cluster.crossing import ECHO, MEMBER, PROBER, ignore, servers
from benchmark.cluster.crowd_plan import CrowdPlan, Return
from benchmark.load.timetable import Line, Timetable, read_times, split
from benchmark.peers.foreman_server import STRICT
from benchmark.processes import Server, choose_cpus, pinned, run_process, run_timetable
from benchmark.timeline import SECOND, Figures, Timeline
from benchmark.workspace import Workspace

SERVED = 15.0  # seconds, in which all are to be served again
WARMUP = 0.5  # seconds of strict traffic that do not count
GROUP = 50  # clients in each group


@frozen(kw_only=True)
class Returned:
    """What became of the crowd on one backplane. Times are seconds after the kill.

    Args:
        backplane: Which one.
        clients: How many there were.
        served: How many were served again in the end.
        opened, echoed, reached, grouped: When the last of them was.
        refused: Attempts to connect that failed.
        strict_before: p99 of the strict connections before, seconds.
        strict_p50, strict_p99, strict_max: From the kill until all were served, seconds.
        strict_missed: How many of so many echoes were later than declared.
        strict_count: Those.
    """

    backplane: str
    clients: int
    served: int
    opened: float
    echoed: float
    reached: float
    grouped: float
    refused: int
    strict_before: float
    strict_p50: float
    strict_p99: float
    strict_max: float
    strict_missed: int
    strict_count: int

    @property
    def seconds(self) -> float:
        """When all that were served again were."""
        return max(self.opened, self.echoed, self.reached, self.grouped)

    def described(self) -> dict[str, object]:
        """For the results file."""
        return {**asdict(self), "seconds": self.seconds}

    def bars(self) -> list[Bar]:
        """What the project has set itself."""
        name, p99 = self.backplane, self.strict_p99 * 1e3
        lost = self.clients - self.served
        return [
            Bar(what=f"{name}: clients not served again", measured=lost, limit=0, most=True),
            Bar(
                what=f"{name}: all {self.clients:,} clients served again",
                measured=self.seconds,
                limit=SERVED,
                most=True,
                unit="s",
            ),
            Bar(
                what=f"{name}: p99 of the strict class meanwhile",
                measured=p99,
                limit=STRICT * 1e3,
                most=True,
                unit="ms",
            ),
        ]


async def lose_a_server(
    fabric: Fabric,
    clients: int,
    strict: int,
    strict_rate: float,
    before: float,
    seconds: float,
    workspace: Workspace,
    progress: Callable[[float, int], None],
) -> Returned:
    """Have three servers on a backplane, and kill the one with the crowd.

    Args:
        before: Seconds of strict traffic before the kill.
        seconds: How long to wait for them at most.

    Raises:
        BenchmarkError: The crowd could not connect, or something failed.
    """
    gap, count = 1 / strict_rate, round((before + seconds) * strict_rate)
    due = [
        array("q", (round((n + number / strict) * gap * SECOND) for n in range(count)))
        for number in range(strict)
    ]
    ours, others = choose_cpus()
    async with AsyncExitStack() as stack:
        stack.enter_context(pinned(fabric.pid, others))
        running = servers(fabric.join(3), workspace, cpus=(ours, others, others))
        remaining, killed, third = await stack.enter_async_context(running)
        plan = CrowdPlan(
            first=killed.urls[MEMBER],
            second=remaining.urls[MEMBER],
            prober=third.urls[PROBER],
            clients=clients,
            groups=max(1, clients // GROUP),
            seconds=seconds,
        )
        timetable = _timetable(due, remaining, workspace, before + seconds)
        begin = asyncio.Barrier(3)

        async def crowd() -> Return:
            module = "benchmark.cluster.crowd"
            return Return(**await run_process(module, asdict(plan), others, progress, begin.wait))

        async def kill() -> float:
            await begin.wait()
            await asyncio.sleep(before)
            killed.child.process.kill()
            return time.monotonic()

        returning, killing = asyncio.create_task(crowd()), asyncio.create_task(kill())
        echoing = asyncio.create_task(run_timetable(timetable, others, ignore, begin.wait))
        tasks = (returning, killing, echoing)
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # those that wait for one that has failed
                task.cancel()
            await asyncio.wait(tasks)
        attendance, back, at = echoing.result(), returning.result(), killing.result()
    times = list(chain.from_iterable(due))
    taken, heard = split(read_times(Path(timetable.answers)), [len(times)] * 2)
    timeline = Timeline(times, taken, heard, round(attendance.elapsed * SECOND))
    moment = at - attendance.started
    end = max(back.opened, back.echoed, back.reached, back.grouped) - attendance.started
    early = Figures.of(timeline.within(WARMUP, moment), STRICT)
    late = Figures.of(timeline.within(moment, max(end, moment + WARMUP)), STRICT)
    return Returned(
        backplane=fabric.name,
        clients=clients,
        served=back.served,
        opened=back.opened - at,
        echoed=back.echoed - at,
        reached=back.reached - at,
        grouped=back.grouped - at,
        refused=back.refused,
        strict_before=early.percentile(99),
        strict_p50=late.percentile(50),
        strict_p99=late.percentile(99),
        strict_max=late.maximum,
        strict_missed=late.missed,
        strict_count=late.count,
    )


def _timetable(
    due: list[array[int]], server: Server, workspace: Workspace, seconds: float
) -> Timetable:
    file, answers = workspace.directory / "due", workspace.directory / "answers"
    file.write_bytes(b"".join(times.tobytes() for times in due))
    return Timetable(
        lines=[Line(url=server.urls[ECHO], messages=len(times)) for times in due],
        due=str(file),
        answers=str(answers),
        seconds=seconds + 1,
        library=workspace.library,
    )
