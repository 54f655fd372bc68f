"""``python -m benchmark broadcast``: one message to thousands, beside peers or alone."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from attrs import asdict
from rich.console import Console

from benchmark import record
from benchmark.broadcast import BROADCASTERS, Broadcaster, Broadcasts, medians, run_turn
from benchmark.broadcast_report import bars, block, ours_over, remarks, table, title
from benchmark.errors import BenchmarkError
from benchmark.kept import Kept
from benchmark.load.audience_plan import SMALLEST
from benchmark.options import Commands, add_common, add_number
from benchmark.progress import Progress
from benchmark.servers import OURS
from benchmark.workspace import open_workspace

KEPT = Kept(
    name="broadcast",
    arguments=("--nodes", "8", "--peers", "all"),
    quick=("--connections", "100", "--seconds", "0.5", "--warmup", "0.2", "--rounds", "1"),
    blocks={"broadcast": block},
)


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "broadcast",
        help="one message to thousands of connections on several nodes",
        description="Open a server, and an audience of which one connection publishes and all get"
        " what it publishes. Every delivery is compared, in content and order; the exit status is"
        " 1 when one was lost, doubled or torn. Strict connections, which declare 10 ms to our"
        " server, want echoes meanwhile by a timetable, as in the mixed scenario.",
    )
    add_common(parser, "ws")
    add_number(parser, "--connections", int, 1, 5000, "N", "the audience")
    outstanding = "messages under way at a time: one that has reached everybody lets the next go"
    add_number(parser, "--outstanding", int, 1, 4, "N", outstanding)
    add_number(parser, "--size", int, SMALLEST, 128, "BYTES", "payload of a message, bytes")
    nodes = "nodes that our server spreads the audience over (default: the Foreman decides)"
    add_number(parser, "--nodes", int, 1, None, "N", nodes)
    add_number(parser, "--strict", int, 0, 20, "N", "strict connections")
    rate = "messages a second that each strict connection sends"
    add_number(parser, "--strict-rate", float, 0.1, 50.0, "N", rate)
    parser.add_argument(
        "--peers",
        nargs="?",
        const="all",
        metavar="NAME,NAME",
        help="also measure these servers in the same way; without names, all that are installed",
    )
    add_number(parser, "--seconds", float, 0.01, 5.0, "S", "measured in each round")
    add_number(parser, "--warmup", float, 0, 2.0, "S", "load before each measurement, seconds")
    rounds = "turns of each server, in changing order (default: 1 alone, 3 with peers)"
    add_number(parser, "--rounds", int, 1, None, "N", rounds)
    parser.set_defaults(run=run)


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Put our server and its peers under the same audience.

    Raises:
        BenchmarkError: A delivery was lost, doubled, torn or out of order, or something failed.
    """
    servers, skipped = choose(options.peers, options.transport)
    for line in skipped:
        console.print(line, soft_wrap=True)
    plan = Broadcasts(
        transport=options.transport,
        servers=servers,
        connections=options.connections,
        outstanding=options.outstanding,
        size=options.size,
        nodes=options.nodes,
        strict=options.strict,
        strict_rate=options.strict_rate,
        seconds=options.seconds,
        warmup=options.warmup,
        rounds=options.rounds or (3 if len(servers) > 1 else 1),
    )
    turns = []
    length = plan.warmup + plan.seconds
    with (
        open_workspace(plan.transport, "c") as workspace,
        Progress(console, length * len(plan.turns())) as progress,
    ):
        for number, kind in plan.turns():
            progress.begin(f"round {number} of {plan.rounds}, {kind.name}")
            turn = await run_turn(plan, number, kind, workspace, progress.update)
            turns.append(turn)
            rate = turn.figures()["deliveries_per_second"]
            progress.end(length, f"{rate:,.0f} deliveries/s")
    found = medians(turns)
    summary = {kind.name: found[kind.name] for kind in plan.servers}
    console.print(title(plan), soft_wrap=True)
    console.print(table(summary))
    reached = bars(plan, summary)
    for line in (*remarks(summary), *map(str, reached)):
        console.print(line, soft_wrap=True)
    record.save(
        record.target(options, "broadcast", plan.transport),
        {
            "benchmark": "broadcast",
            **record.describe(arguments),
            "settings": {**asdict(plan, recurse=False), "servers": list(summary)},
            "summary": summary,
            "ratios": {
                peer: ours_over(summary, peer) for peer in summary if peer != plan.servers[0].name
            },
            "bars": [bar.described() for bar in reached],
            "rounds": [
                {"round": turn.round, "server": turn.server, **turn.figures()}
                for turn in sorted(turns, key=lambda turn: turn.round)
            ],
        },
        console,
    )


def choose(names: str | None, transport: str) -> tuple[list[Broadcaster], list[str]]:
    """Ours and the peers asked for, and why any of all is left out.

    Raises:
        BenchmarkError: One asked for by name cannot be run here.
    """
    wanted = [OURS]
    if names is not None:
        every = list(BROADCASTERS) if names == "all" else names.split(",")
        wanted += [name.strip() for name in every if name.strip() != OURS]
    found, skipped = [], []
    for name in dict.fromkeys(wanted):
        kind = BROADCASTERS.get(name)
        if kind is None:
            raise BenchmarkError(f"there is no server {name!r}, only {', '.join(BROADCASTERS)}")
        obstacle = kind.obstacle(transport)
        if obstacle is None:
            found.append(kind)
        elif names == "all" and name != OURS:
            skipped.append(f"skipped: {obstacle}")
        else:
            raise BenchmarkError(obstacle)
    return found, skipped
