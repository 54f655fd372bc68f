"""What a server costs that has nothing to do: memory per idle connection, CPU of idle nodes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import asdict, frozen

from benchmark.errors import BenchmarkError
from benchmark.load.plan import Plan
from benchmark.processes import Server, child, choose_cpus, running_server
from benchmark.servers import ServerKind
from benchmark.usage import cpu_seconds, resident_bytes
from benchmark.workspace import Workspace

CONNECT_TIMEOUT = 120.0
FIRST = 100  # connections before the first look at memory: what is loaded on demand is loaded then
SETTLED = 3  # equal looks at memory in a row
LOOK = 0.2  # seconds between two looks


@frozen(kw_only=True)
class IdleMemory:
    """A server with idle connections.

    Args:
        server: Which one.
        connections: How many were opened between the two looks.
        before: Resident memory before, bytes.
        after: The same with the connections open.
    """

    server: str
    connections: int
    before: int
    after: int

    @property
    def per_connection(self) -> float:
        """Resident memory of one connection, bytes."""
        return (self.after - self.before) / self.connections


@frozen(kw_only=True)
class IdleCpu:
    """A server with idle nodes.

    Args:
        nodes: Nodes there were.
        connections: Open connections.
        seconds: How long it was watched.
        cpu: CPU time it used meanwhile, seconds.
    """

    nodes: int
    connections: int
    seconds: float
    cpu: float

    @property
    def share(self) -> float:
        """The share of one CPU, 1 for all of it."""
        return self.cpu / self.seconds


@asynccontextmanager
async def holding(server: Server, connections: int, workspace: Workspace) -> AsyncIterator[None]:
    """Have a process of its own hold idle connections to a server for the length of the block."""
    plan = Plan(url=server.urls[0], connections=connections, certificate=workspace.authority)
    async with child("the idle client", "benchmark.load.hold", (), choose_cpus()[1]) as holder:
        await holder.write(asdict(plan))
        said = await holder.read(CONNECT_TIMEOUT)
        if "error" in said:
            raise BenchmarkError(said["error"])
        yield


async def measure_memory(
    kind: ServerKind, transport: str, connections: int, workspace: Workspace
) -> IdleMemory:
    """Open connections, and see what the server's memory grows by.

    Raises:
        BenchmarkError: A connection could not be opened, or the platform has no /proc.
    """
    if not sys.platform.startswith("linux"):
        raise BenchmarkError("memory is read from /proc, which only Linux has")
    async with (
        running_server(kind, transport, workspace, choose_cpus()[0]) as server,
        holding(server, FIRST, workspace),
    ):
        before = await _settled_memory(server)
        async with holding(server, connections, workspace):
            after = await _settled_memory(server)
    return IdleMemory(server=kind.name, connections=connections, before=before, after=after)


async def measure_cpu(
    kind: ServerKind,
    transport: str,
    nodes: int,
    connections: int,
    seconds: float,
    workspace: Workspace,
) -> IdleCpu:
    """Watch a server whose nodes have nothing to do.

    Raises:
        BenchmarkError: The platform cannot tell the CPU time of another process.
    """
    arguments = ("--fixed-nodes", str(nodes))
    async with (
        running_server(kind, transport, workspace, choose_cpus()[0], arguments) as server,
        holding(server, connections, workspace),
    ):
        await _settled_memory(server)
        before = cpu_seconds(server.child.pid)
        await asyncio.sleep(seconds)
        after = cpu_seconds(server.child.pid)
        found = (await server.statistics())["nodes"]
    if before is None or after is None:
        raise BenchmarkError("this platform cannot tell the CPU time of another process")
    return IdleCpu(nodes=len(found), connections=connections, seconds=seconds, cpu=after - before)


async def _settled_memory(server: Server) -> int:
    """Resident memory once it has stopped changing, bytes."""
    looks: list[int] = []
    for _ in range(50):
        looks.append(resident_bytes(server.child.pid))
        if len(looks) >= SETTLED and len(set(looks[-SETTLED:])) == 1:
            break
        await asyncio.sleep(LOOK)
    return looks[-1]
