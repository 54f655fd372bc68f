"""The echo scenario: every server under the same closed loop, interleaved in rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from benchmark.load.plan import Plan, Result
from benchmark.processes import choose_cpus, run_load, running_server
from benchmark.servers import ServerKind
from benchmark.workspace import Workspace


@frozen(kw_only=True)
class Echo:
    """What to measure.

    Args:
        transport: The URL scheme that every server listens on.
        servers: The server under test first, then its peers.
        connections: Connections of each run.
        in_flight: Messages each connection keeps under way.
        size: Payload of a message, bytes.
        seconds: Measured in each run.
        warmup: Seconds of load before each measurement.
        rounds: How often each server has its turn.
    """

    transport: str
    servers: Sequence[ServerKind]
    connections: int
    in_flight: int
    size: int
    seconds: float
    warmup: float
    rounds: int

    def turns(self) -> list[tuple[int, ServerKind]]:
        """Rounds and servers in the order in which they run.

        Each round begins with another server, so that none always follows the same one, and
        what changes on the machine meanwhile falls on all of them.
        """
        count = len(self.servers)
        return [
            (number + 1, self.servers[(number + turn) % count])
            for number in range(self.rounds)
            for turn in range(count)
        ]


@frozen(kw_only=True)
class Run:
    """One server's turn in one round."""

    round: int
    server: str
    result: Result


async def run_turn(
    echo: Echo,
    number: int,
    kind: ServerKind,
    workspace: Workspace,
    progress: Callable[[float, int], None],
) -> Run:
    """Put a fresh server under load from a fresh client.

    Raises:
        BenchmarkError: One of them failed.
    """
    server_cpu, client_cpu = choose_cpus()
    async with running_server(kind, echo.transport, workspace, server_cpu) as server:
        plan = Plan(
            url=server.urls[0],
            connections=echo.connections,
            in_flight=echo.in_flight,
            size=echo.size,
            seconds=echo.seconds,
            warmup=echo.warmup,
            certificate=workspace.authority,
            library=workspace.library,
            server_pid=server.child.pid,
        )
        result = await run_load(plan, client_cpu, progress)
    return Run(round=number, server=kind.name, result=result)
