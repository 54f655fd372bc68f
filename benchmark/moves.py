"""The moves scenario: open connections moved among nodes at a high rate while they are under load.

The same server with the same nodes has its turn with and without moves, in alternating order. The
load client keeps messages under way on every connection and compares every byte of every reply
with what is due there next (`benchmark.load.stream`), so a message that was lost, doubled or put
out of order, or that came from another connection, ends the measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from statistics import median

from attrs import frozen

from benchmark.histogram import Histogram
from benchmark.load.plan import Plan, Result
from benchmark.processes import choose_cpus, run_load, running_server
from benchmark.servers import ServerKind
from benchmark.workspace import Workspace

# The smallest payload by which the frames of a load tell each other apart, bytes.
SMALLEST = 16

MOVING = ServerKind(
    name="moving", requires="netserver", transports=("ws", "wss", "tcp", "tls", "unix", "ws+unix")
)


@frozen(kw_only=True)
class Moves:
    """What to measure.

    Args:
        transport: The URL scheme to listen on.
        connections: Connections under load.
        in_flight: Messages each connection keeps under way.
        size: Payload of a message, bytes; at least `SMALLEST`.
        nodes: Nodes that they are moved among.
        moves: Moves to make in all; rounds go on until they were made.
        at_once: Moves under way at a time, at most.
        rate: Moves begun a second, at most; None for as many as `at_once` allows.
        seconds: Measured in each run.
        warmup: Seconds of load, and of moves, before each measurement.
        rounds: The fewest rounds; each has a run with moves and one without.
        seed: For the choice of connections and nodes.
    """

    transport: str
    connections: int
    in_flight: int
    size: int
    nodes: int
    moves: int
    at_once: int
    rate: float | None
    seconds: float
    warmup: float
    rounds: int
    seed: int


@frozen(kw_only=True)
class Turn:
    """One run.

    Args:
        round: Which one, from 1.
        moving: Whether connections were moved.
        result: What the load client measured.
        done: Moves that were made.
        given_up: Moves after which the connection stayed where it was.
        seconds: From the first move's end to the last one's.
        pauses: For how long each moved connection ran nowhere, nanoseconds, by the server's clock.
    """

    round: int
    moving: bool
    result: Result
    done: int
    given_up: int
    seconds: float
    pauses: Histogram

    @property
    def throughput(self) -> float:
        """Messages a second."""
        return self.result.messages / self.result.elapsed

    @property
    def rate(self) -> float:
        """Moves a second."""
        return self.done / self.seconds if self.seconds else 0.0


@frozen(kw_only=True)
class Verdict:
    """What all runs come to.

    Args:
        messages: Replies compared while connections were moved and measured.
        done: Moves made.
        given_up: Moves given up.
        moves_per_second: Median over the rounds.
        pauses: Of all moves, nanoseconds.
        throughput_ratio: Messages a second with moves over those without, median of the rounds'
            ratios: what the machine does besides comes and goes, and is much the same in a round.
    """

    messages: int
    done: int
    given_up: int
    moves_per_second: float
    pauses: Histogram
    throughput_ratio: float


def order_of(round_number: int) -> tuple[bool, bool]:
    """Which run of a round comes first: the one with moves (True) in every second one."""
    return (False, True) if round_number % 2 else (True, False)


async def run_turn(
    moves: Moves,
    round_number: int,
    moving: bool,
    workspace: Workspace,
    progress: Callable[[float, int], None],
) -> Turn:
    """Put a fresh server under load, with or without moves.

    Raises:
        BenchmarkError: A reply was lost, doubled, out of order or otherwise not what it should be;
            or the server or the load failed.
    """
    server_cpu, client_cpu = choose_cpus()
    arguments = ["--nodes", str(moves.nodes), "--seed", str(moves.seed + round_number)]
    if moving:
        arguments += "--at-once", str(moves.at_once)
        if moves.rate is not None:
            arguments += "--rate", str(moves.rate)
    async with running_server(MOVING, moves.transport, workspace, server_cpu, arguments) as server:
        plan = Plan(
            url=server.urls[0],
            connections=moves.connections,
            in_flight=moves.in_flight,
            size=moves.size,
            seconds=moves.seconds,
            warmup=moves.warmup,
            certificate=workspace.authority,
            library=workspace.library,
            server_pid=server.child.pid,
        )
        result = await run_load(plan, client_cpu, progress)
        found = await server.statistics()
    return Turn(
        round=round_number,
        moving=moving,
        result=result,
        done=found["done"],
        given_up=found["given_up"],
        seconds=found["seconds"],
        pauses=Histogram.from_sparse(found["pauses"], found["longest_pause"]),
    )


def judge(turns: Sequence[Turn]) -> Verdict:
    """What the runs come to; each round has one with moves and one without."""
    moved = [turn for turn in turns if turn.moving]
    unmoved = {turn.round: turn.throughput for turn in turns if not turn.moving}
    return Verdict(
        messages=sum(turn.result.messages for turn in moved),
        done=sum(turn.done for turn in moved),
        given_up=sum(turn.given_up for turn in moved),
        moves_per_second=median(turn.rate for turn in moved),
        pauses=Histogram.from_sparse(
            chain.from_iterable(turn.pauses.sparse() for turn in moved),
            max(turn.pauses.maximum for turn in moved),
        ),
        throughput_ratio=median(turn.throughput / unmoved[turn.round] for turn in moved),
    )
