"""The echo scenario: every server under the same closed loops, interleaved in rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from benchmark.cases import Case
from benchmark.load.plan import Plan, Result
from benchmark.processes import choose_cpus, run_load, running_server
from benchmark.servers import ServerKind
from benchmark.workspace import Workspace


@frozen(kw_only=True)
class Row:
    """A case and who is measured by it.

    Args:
        case: The load.
        servers: The server under test first, then its peers.
        missing: Who is left out, and why.
    """

    case: Case
    servers: Sequence[ServerKind]
    missing: Sequence[str] = ()


@frozen(kw_only=True)
class Echo:
    """What to measure.

    Args:
        rows: The cases, each with its servers.
        connections: Connections of each run; of handshakes, how many at a time.
        seconds: Measured in each run.
        warmup: Seconds of load before each measurement.
        rounds: How often each server has its turn in each row.
    """

    rows: Sequence[Row]
    connections: int
    seconds: float
    warmup: float
    rounds: int

    def turns(self) -> Iterator[tuple[int, Row, ServerKind]]:
        """Rounds, rows and servers in the order in which they run.

        In each round a row begins with another server, so that none always follows the same one,
        and what changes on the machine meanwhile falls on all of them.
        """
        for number in range(self.rounds):
            for row in self.rows:
                count = len(row.servers)
                for turn in range(count):
                    yield number + 1, row, row.servers[(number + turn) % count]

    @property
    def turns_count(self) -> int:
        """How many turns there are."""
        return self.rounds * sum(len(row.servers) for row in self.rows)


@frozen(kw_only=True)
class Run:
    """One server's turn in one round."""

    round: int
    case: str
    server: str
    result: Result


async def run_turn(
    echo: Echo,
    number: int,
    case: Case,
    kind: ServerKind,
    workspace: Workspace,
    progress: Callable[[float, int], None],
) -> Run:
    """Put a fresh server under load from a fresh client.

    Raises:
        BenchmarkError: One of them failed.
    """
    server_cpu, client_cpu = choose_cpus()
    arguments = ("--deflate",) if case.deflate else ()
    async with running_server(kind, case.transport, workspace, server_cpu, arguments) as server:
        plan = Plan(
            url=server.urls[0],
            connections=echo.connections,
            in_flight=case.in_flight,
            size=case.size,
            deflate=case.deflate,
            handshakes=case.handshakes,
            seconds=echo.seconds,
            warmup=echo.warmup,
            certificate=workspace.authority,
            library=workspace.library_for(case.transport, deflate=case.deflate),
            server_pid=server.child.pid,
        )
        result = await run_load(plan, client_cpu, progress)
    return Run(round=number, case=case.name, server=kind.name, result=result)
