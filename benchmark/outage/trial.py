"""One outage: two servers, their clients, what is taken away from them, and what they notice."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from itertools import chain, pairwise
from pathlib import Path
from time import monotonic
from typing import Any

from attrs import define, field, frozen

from benchmark.errors import BenchmarkError
from benchmark.load.stream import TWINS
from benchmark.load.timetable import Attendance, Line, Timetable, read_times, split
from benchmark.outage.probe import FLOODED, Probe, running_probe
from benchmark.outage.site import CALLER, ECHO, SINGER
from benchmark.outage.victims import Fault, Ground, Post, Victim
from benchmark.peers.foreman_server import STRICT
from benchmark.processes import READY_TIMEOUT, run_timetable
from benchmark.timeline import SECOND, Figures, Message, Timeline
from benchmark.usage import resident_bytes
from benchmark.workspace import Workspace

HOPELESS = 20.0  # seconds after the return in which messages have to cross again
LISTENING = 1.0  # seconds after the last message that is due
GLANCE = 0.02  # seconds between two looks at memory
FLOOD_ANSWER = 30.0  # seconds over its length that a flood may take

WORDS = {ECHO: "echo", CALLER: "send_to", SINGER: "broadcast"}

Note = Callable[[float, int], None]


@frozen(kw_only=True)
class Settings:
    """How it is done.

    Args:
        seconds: Of the outage, and measured before it.
        warmup: Seconds of load before.
        flood: Seconds of a second outage, in which one server sends what cannot arrive.
        pairs: Of clients of each kind on each server.
        rate: Messages a second of each client.
        size: Payload of a message, bytes.
        probe_timeout: As of `netserver.ClusterConfig`.
    """

    seconds: float
    warmup: float
    flood: float
    pairs: int
    rate: float
    size: int
    probe_timeout: float

    @property
    def length(self) -> float:
        """Seconds of load."""
        return self.warmup + 2 * self.seconds


@define(eq=False)
class _Load:
    """Strict connections, whose messages stay on the server that they are connected to."""

    settings: Settings
    posts: Sequence[Post]
    workspace: Workspace
    begun: asyncio.Event = field(factory=asyncio.Event)
    _kinds: list[int] = field(factory=list)
    _due: list[array[int]] = field(factory=list)

    async def run(self, progress: Note) -> Attendance:
        """Carry it out."""
        settings = self.settings
        lines = self._lines()
        gap, count = 1 / settings.rate, round(settings.length * settings.rate)
        for number in range(len(lines)):
            offset = number // 2 / (len(lines) / 2)  # twins send at one time
            times = (round((n + offset) * gap * SECOND) for n in range(count))
            self._due.append(array("q", times))
        due_file, answers = self._files
        due_file.write_bytes(b"".join(times.tobytes() for times in self._due))
        timetable = Timetable(
            lines=[Line(**line, messages=count) for line in lines],
            due=str(due_file),
            answers=str(answers),
            size=settings.size,
            seconds=settings.length + LISTENING,
            library=self.workspace.library,
        )

        async def begin() -> None:
            self.begun.set()

        return await run_timetable(timetable, None, progress, begin)

    def _lines(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        for place, post in enumerate(self.posts):
            for kind in WORDS:
                for number in range(2 * self.settings.pairs):
                    self._kinds.append(kind)
                    if kind == ECHO:
                        lines.append({"url": post.urls[ECHO]})
                        continue
                    mine, theirs = TWINS[number % 2], TWINS[1 - number % 2]
                    who = place * 2 * self.settings.pairs + number
                    lines.append(
                        {
                            "url": f"{post.urls[kind]}/{who}",
                            "opening": mine,
                            "replies": theirs,
                            "first": who // 2,
                        }
                    )
        return lines

    @property
    def _files(self) -> tuple[Path, Path]:
        directory = self.workspace.directory
        return directory / "due", directory / "answers"

    def figures(self, attendance: Attendance, marks: Sequence[float]) -> list[dict[str, Any]]:
        """What was measured between each two of these moments, seconds of `time.monotonic`."""
        end = round(attendance.elapsed * SECOND)
        answers = split(read_times(self._files[1]), [len(times) for times in self._due] * 2)
        lines = list(zip(self._kinds, self._due, answers, answers[len(self._due) :], strict=False))
        timelines = {}
        for kind in WORDS:
            times = zip(*(each[1:] for each in lines if each[0] == kind), strict=True)
            due, taken, heard = ([*chain.from_iterable(each)] for each in times)
            timelines[kind] = Timeline(due, taken, heard, end)
        found = []
        relative = [mark - attendance.started for mark in marks]
        for since, until in pairwise(relative):
            windows = {kind: each.within(since, until) for kind, each in timelines.items()}
            every: list[Message] = [*chain.from_iterable(windows.values())]
            figures = {word: _describe(windows[kind]) for kind, word in WORDS.items()}
            found.append({"all": _describe(every), **figures})
        return found


def _describe(messages: Sequence[Message]) -> dict[str, Any]:
    return Figures.of(messages, STRICT).described()


async def run_trial(
    settings: Settings, ground: Ground, fault: Fault, workspace: Workspace, progress: Note
) -> dict[str, Any]:
    """Take it away for so long, and see.

    Returns:
        What was measured, for the results file.

    Raises:
        BenchmarkError: A local message was lost, torn or doubled, or something did not run.
    """
    async with AsyncExitStack() as stack:
        posts = []
        for name, url in zip("AB", ground.urls(), strict=True):
            post = Post(name, url, settings.probe_timeout)
            stack.push_async_callback(post.stop)
            await post.start()
            posts.append(post)
        probe = await stack.enter_async_context(running_probe([p.urls[CALLER] for p in posts]))
        if None in await probe.first_since(monotonic(), HOPELESS):
            raise BenchmarkError(f"within {HOPELESS:g} s no message came to the other server")
        # Where the other server is what is taken away, its clients can tell nothing.
        local = posts if ground.broker else posts[:1]
        load = _Load(settings, local, workspace)
        running = asyncio.create_task(load.run(progress))
        try:
            begun = asyncio.create_task(load.begun.wait())
            await asyncio.wait([running, begun], return_when=asyncio.FIRST_COMPLETED)
            begun.cancel()
            if running.done():
                await running  # it has failed, and raises why
            victim: Victim = ground.broker or posts[1]
            marks, back = await _outage(settings, probe, victim, fault)
            attendance = await running
        finally:
            running.cancel()
            await asyncio.wait([running])
        periods = load.figures(attendance, marks)
        flood, again = await _flood(settings, posts[0], probe, victim, fault)
        servers = [await _describe_server(post, marks[1]) for post in posts]
    return {
        "fault": fault.value,
        **dict(zip(("before", "during"), periods, strict=True)),
        "back_seconds": [*back, *again],
        "flood": flood,
        "servers": servers,
    }


async def _describe_server(post: Post, struck: float) -> dict[str, Any]:
    """What it counts, and what it was told, in seconds after the first strike."""
    await post.child.write({})
    said = await post.child.read(READY_TIMEOUT)
    events = [{**each, "at": each["at"] - struck} for each in said.pop("told")]
    return {"server": post.name, "cluster": said, "events": events}


async def _outage(
    settings: Settings, probe: Probe, victim: Victim, fault: Fault
) -> tuple[list[float], list[float]]:
    """Take it away for so long, while the load runs, and bring it back.

    Returns:
        When each period began, with the end of the last; and after how long messages crossed again.
    """
    began = monotonic() + settings.warmup
    await asyncio.sleep(settings.warmup + settings.seconds)
    struck = monotonic()
    await victim.strike(fault)
    await asyncio.sleep(max(0.0, struck + settings.seconds - monotonic()))
    ended = monotonic()
    return [began, struck, ended], await _bring_back(probe, victim, fault)


async def _bring_back(probe: Probe, victim: Victim, fault: Fault) -> list[float]:
    """Bring it back. Returns after how long messages crossed again, in each direction."""
    await victim.restore(fault)
    ready = monotonic()
    firsts = await probe.first_since(ready, HOPELESS)
    return [HOPELESS if first is None else first - ready for first in firsts]


async def _flood(
    settings: Settings, post: Post, probe: Probe, victim: Victim, fault: Fault
) -> tuple[dict[str, Any], list[float]]:
    """Take it away once more, and have a server send from then on what cannot arrive.

    Returns:
        What the flood came to, and what the server's memory grew by; and after how long messages
        crossed again.
    """
    pid = post.child.pid
    before = most = resident_bytes(pid)
    await victim.strike(fault)
    await post.child.write({"flood": settings.flood, "to": str(FLOODED)})
    answer = asyncio.create_task(post.child.read(settings.flood + FLOOD_ANSWER))
    try:
        while not answer.done():
            await asyncio.wait([answer], timeout=GLANCE)
            most = max(most, resident_bytes(pid))
    finally:
        answer.cancel()
    said = await answer
    flood = {**said["flood"], "limit": said["limit"], "memory_bytes": most - before}
    return flood, await _bring_back(probe, victim, fault)
