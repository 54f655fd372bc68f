"""Starting, asking and ending the processes of a measurement: servers and load clients.

Children get sessions of their own, so that Ctrl-C reaches this process only, which then ends them
in order. They also end by themselves when this process is gone (`benchmark.peers.program`).
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import IO, Any

from attrs import asdict, define

from benchmark.errors import BenchmarkError
from benchmark.load.audience_plan import AudiencePlan, Reception
from benchmark.load.plan import Plan, Result
from benchmark.load.timetable import Attendance, Timetable
from benchmark.servers import ServerKind
from benchmark.workspace import Workspace

READY_TIMEOUT = 10.0
STOP_TIMEOUT = 5.0
SILENCE_TIMEOUT = 60.0  # a load client says something ten times a second, once it has connected
LONGEST_LINE = 1 << 24  # bytes; our server tells of thousands of events
STDERR_SHOWN = 2000  # bytes of a failed process's standard error


def choose_cpus() -> tuple[int | None, int | None]:
    """A CPU for servers and another one for load clients; None where they cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    cpus = sorted(os.sched_getaffinity(0))
    return (cpus[0], cpus[1]) if len(cpus) > 1 else (None, None)


@contextmanager
def pinned(pid: int | None, cpu: int | None) -> Iterator[None]:
    """Keep a process that runs, all of its threads, on one CPU for the length of the block.

    Args:
        pid: The process; None for none.
        cpu: The CPU; None to leave it where it is.

    Raises:
        BenchmarkError: It is not ours to pin: what is measured would be something else.
    """
    if pid is None or cpu is None:
        yield
        return
    before = os.sched_getaffinity(pid)
    _pin(pid, {cpu})
    try:
        yield
    finally:
        _pin(pid, before)


def _pin(pid: int, cpus: set[int]) -> None:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return
    for thread in threads:
        try:
            os.sched_setaffinity(int(thread), cpus)
        except ProcessLookupError:  # the thread has ended
            pass
        except OSError as error:
            raise BenchmarkError(f"process {pid} cannot be pinned to a CPU: {error}") from error


def raise_descriptor_limit() -> None:
    """Let this process, and with it its children, open as many descriptors as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:  # which some systems do not take for the soft limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@define(eq=False)
class Child:
    """A process that speaks JSON lines. Used on the event loop that started it."""

    name: str
    process: asyncio.subprocess.Process
    errors: IO[bytes]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def read(self, timeout: float) -> dict[str, Any]:
        """Its next line.

        Raises:
            BenchmarkError: It ended, wrote something else, or wrote nothing for so many seconds.
        """
        assert self.process.stdout is not None
        try:
            line = await asyncio.wait_for(self.process.stdout.readline(), timeout)
            fields = json.loads(line)
        except TimeoutError:
            silence = f"{self.name} said nothing for {timeout:g} s"
            raise BenchmarkError(silence + self._said()) from None
        except ValueError:
            raise BenchmarkError(f"{self.name} ended or failed{self._said()}") from None
        assert isinstance(fields, dict)
        return fields

    async def write(self, fields: object) -> None:
        """Send it a JSON line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(fields).encode() + b"\n")
        await self.process.stdin.drain()

    async def ended(self) -> None:
        """Wait for it to end by itself.

        Raises:
            BenchmarkError: It did not, for `STOP_TIMEOUT`.
        """
        try:
            await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT)
        except TimeoutError:
            raise BenchmarkError(f"{self.name} did not end{self._said()}") from None

    async def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL when that takes too long."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    def _said(self) -> str:
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip()[-STDERR_SHOWN:]
        return f":\n{said}" if said else ""


@asynccontextmanager
async def child(
    name: str, module: str, arguments: Sequence[str], cpu: int | None
) -> AsyncIterator[Child]:
    """Run ``python -m module`` and end it at the end of the block.

    Args:
        name: What errors call it.
        module: The program.
        arguments: Its command line.
        cpu: The CPU to pin it to, or None.
    """
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            limit=LONGEST_LINE,
        )  # fmt: skip
        started = Child(name, process, errors)
        try:
            if cpu is not None:
                os.sched_setaffinity(process.pid, {cpu})
            yield started
        finally:
            await asyncio.shield(started.stop())


@define(eq=False)
class Server:
    """A server that listens.

    Attributes:
        kind: Which one.
        urls: Where; what each is for is up to the program.
    """

    kind: ServerKind
    child: Child
    urls: list[str]

    async def statistics(self) -> dict[str, Any]:
        """What it tells about itself; empty for most peers."""
        await self.child.write({})
        return await self.child.read(READY_TIMEOUT)


@asynccontextmanager
async def running_server(
    kind: ServerKind,
    transport: str,
    workspace: Workspace,
    cpu: int | None,
    arguments: Sequence[str] = (),
    patience: float = READY_TIMEOUT,
) -> AsyncIterator[Server]:
    """Run a server for the length of the block.

    Args:
        kind: Which one.
        transport: The URL scheme to listen on.
        workspace: Where its files are.
        cpu: The CPU to pin it to, or None.
        arguments: Further options of its program.
        patience: How long it may take until it listens, seconds.

    Raises:
        BenchmarkError: It could not be compiled, or did not listen in time.
    """
    options = [
        *("--transport", transport),
        *("--path", workspace.socket_path()),
        *("--certificate", workspace.certificate or ""),
        *kind.arguments,
        *arguments,
    ]
    if kind.compiler is not None:
        options += "--program", await workspace.program(kind.compiler)
    async with child(f"server {kind.name}", kind.program, options, cpu) as started:
        ready = await started.read(patience)
        yield Server(kind, started, ready["urls"])


async def run_load(
    plan: Plan,
    cpu: int | None,
    progress: Callable[[float, int], None],
    ready: Callable[[], Awaitable[object]] | None = None,
) -> Result:
    """Carry out a plan of the closed loop in a process of its own.

    Args:
        plan: What to do.
        cpu: The CPU to pin it to, or None.
        progress: Called with the seconds since the load began and the messages so far.
        ready: Awaited when every connection is open, before the load begins; None for nothing.

    Raises:
        BenchmarkError: The load could not be brought to its end.
    """
    return Result(**await run_process("benchmark.load", asdict(plan), cpu, progress, ready))


async def run_timetable(
    timetable: Timetable,
    cpu: int | None,
    progress: Callable[[float, int], None],
    ready: Callable[[], Awaitable[object]] | None = None,
) -> Attendance:
    """The same for a timetable of the open loop.

    Args:
        timetable, cpu, progress, ready: As for `run_load`.
    """
    plan = asdict(timetable)
    return Attendance(**await run_process("benchmark.load.paced", plan, cpu, progress, ready))


async def run_audience(
    plan: AudiencePlan,
    cpu: int | None,
    progress: Callable[[float, int], None],
    ready: Callable[[], Awaitable[object]] | None = None,
) -> Reception:
    """The same for an audience of broadcasts."""
    return Reception(
        **await run_process("benchmark.load.audience", asdict(plan), cpu, progress, ready)
    )


async def run_process(
    module: str,
    plan: dict[str, Any],
    cpu: int | None,
    progress: Callable[[float, int], None],
    ready: Callable[[], Awaitable[object]] | None = None,
) -> dict[str, Any]:
    """The same for any program that answers as `benchmark.load.talk` says: what it answers."""
    async with child("the load client", module, (), cpu) as load:
        await load.write(plan)
        while True:
            said = await load.read(SILENCE_TIMEOUT)
            if "connected" in said:
                if ready is not None:
                    await ready()
                await load.write({})
            elif "progress" in said:
                progress(*said["progress"])
            else:
                break
        await load.ended()
    if "error" in said:
        raise BenchmarkError(said["error"])
    result: dict[str, Any] = said["result"]
    return result
