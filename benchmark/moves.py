"""The moves scenario: open connections moved among nodes at a high rate while they are under load.

The same server with the same nodes has its turn with and without moves, in alternating order, under
a closed loop that keeps messages under way on every connection, as many as the server can bear:
that shows what moves cost in throughput. A third turn, at a fixed rate, shows how long a connection
pauses; under the closed loop that is how long the operating system and the interpreter lock take to
come round to a node among others that all compute without end.

The load client compares every byte of every reply with what is due there next
(`benchmark.load.stream`), so a message that was lost, doubled or put out of order, or that came
from another connection, ends the measurement.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import chain
from statistics import median

from attrs import frozen

from benchmark.errors import BenchmarkError
from benchmark.histogram import Histogram
from benchmark.load.plan import Plan, Result
from benchmark.load.timetable import NEVER, Line, Timetable, read_times
from benchmark.processes import Server, choose_cpus, run_load, run_timetable, running_server
from benchmark.servers import ServerKind
from benchmark.workspace import Workspace

# The smallest payload by which the frames of a load tell each other apart, bytes.
SMALLEST = 16

PATIENCE = 5.0  # seconds that the last replies may take at a fixed rate

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
        paced: Messages a second that each connection sends in the turns at a fixed rate.
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
    paced: float
    rate: float | None
    seconds: float
    warmup: float
    rounds: int
    seed: int


class Kind(Enum):
    """What a run is under."""

    UNMOVED = "unmoved"
    MOVING = "moving"
    PACED = "moving, paced"


@frozen(kw_only=True)
class Turn:
    """One run.

    Args:
        round: Which one, from 1.
        kind: Whether connections were moved, and under which load.
        result: What the load client measured.
        done: Moves that were made.
        given_up: Moves after which the connection stayed where it was.
        seconds: From the first move's end to the last one's.
        pauses: For how long each moved connection ran nowhere, nanoseconds, by the server's clock.
    """

    round: int
    kind: Kind
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
        pauses: Of the moves at a fixed rate of messages, nanoseconds.
        pauses_saturated: Of those under the closed loop, nanoseconds.
        throughput_ratio: Messages a second with moves over those without, median of the rounds'
            ratios: what the machine does besides comes and goes, and is much the same in a round.
    """

    messages: int
    done: int
    given_up: int
    moves_per_second: float
    pauses: Histogram
    pauses_saturated: Histogram
    throughput_ratio: float


def order_of(round_number: int) -> tuple[Kind, ...]:
    """The runs of a round, in turn: the first two change places in every second round."""
    first, second = Kind.UNMOVED, Kind.MOVING
    return (first, second, Kind.PACED) if round_number % 2 else (second, first, Kind.PACED)


async def run_turn(
    moves: Moves,
    round_number: int,
    kind: Kind,
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
    if kind is not Kind.UNMOVED:
        arguments += "--at-once", str(moves.at_once)
        if moves.rate is not None:
            arguments += "--rate", str(moves.rate)
    load = _run_paced if kind is Kind.PACED else _run_closed
    async with running_server(MOVING, moves.transport, workspace, server_cpu, arguments) as server:
        result = await load(moves, server, client_cpu, workspace, progress)
        found = await server.statistics()
    return Turn(
        round=round_number,
        kind=kind,
        result=result,
        done=found["done"],
        given_up=found["given_up"],
        seconds=found["seconds"],
        pauses=Histogram.from_sparse(found["pauses"], found["longest_pause"]),
    )


async def _run_closed(
    moves: Moves,
    server: Server,
    cpu: int | None,
    workspace: Workspace,
    progress: Callable[[float, int], None],
) -> Result:
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
    return await run_load(plan, cpu, progress)


async def _run_paced(
    moves: Moves,
    server: Server,
    cpu: int | None,
    workspace: Workspace,
    progress: Callable[[float, int], None],
) -> Result:
    """All messages at their times, latencies counted from these; no warm-up."""
    each = max(1, round(moves.paced * moves.seconds))
    due = array("q")
    for connection in range(moves.connections):
        offset = connection / moves.connections
        due.extend(round((number + offset) / moves.paced * 1e9) for number in range(each))
    due_file, answers_file = workspace.directory / "due", workspace.directory / "answers"
    due_file.write_bytes(due.tobytes())
    timetable = Timetable(
        lines=[Line(url=server.urls[0], messages=each)] * moves.connections,
        due=str(due_file),
        answers=str(answers_file),
        size=moves.size,
        seconds=each / moves.paced + PATIENCE,
        certificate=workspace.authority,
        library=workspace.library,
        server_pid=server.child.pid,
    )
    attendance = await run_timetable(timetable, cpu, progress)
    answers = read_times(answers_file)[len(due) :]
    trips = Histogram()
    for sent, answered in zip(due, answers, strict=True):
        if answered == NEVER:
            raise BenchmarkError("a message was lost: no reply came to it")
        trips.record(max(0, answered - sent))
    return Result(
        client=attendance.client,
        messages=len(due),
        elapsed=each / moves.paced,
        client_cpu=attendance.client_cpu,
        server_cpu=attendance.server_cpu,
        buckets=trips.sparse(),
        maximum=trips.maximum,
    )


def judge(turns: Sequence[Turn]) -> Verdict:
    """What the runs come to; each round has one of each kind."""
    of = {kind: [turn for turn in turns if turn.kind is kind] for kind in Kind}
    moved = of[Kind.MOVING] + of[Kind.PACED]
    unmoved = {turn.round: turn.throughput for turn in of[Kind.UNMOVED]}
    return Verdict(
        messages=sum(turn.result.messages for turn in moved),
        done=sum(turn.done for turn in moved),
        given_up=sum(turn.given_up for turn in moved),
        moves_per_second=median(turn.rate for turn in of[Kind.MOVING]),
        pauses=together(of[Kind.PACED]),
        pauses_saturated=together(of[Kind.MOVING]),
        throughput_ratio=median(turn.throughput / unmoved[turn.round] for turn in of[Kind.MOVING]),
    )


def together(turns: Sequence[Turn]) -> Histogram:
    """The pauses of all of them."""
    return Histogram.from_sparse(
        chain.from_iterable(turn.pauses.sparse() for turn in turns),
        max(turn.pauses.maximum for turn in turns),
    )
