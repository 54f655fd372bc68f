"""``python -m benchmark echo``: messages a second and round trips, beside peers or alone."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from attrs import asdict
from rich.console import Console

from benchmark import record
from benchmark.echo import Echo, run_turn
from benchmark.options import Commands, add_common, add_load, add_number, add_servers
from benchmark.progress import Progress
from benchmark.report import described, echo_table, echo_title, medians, ratios, remarks
from benchmark.servers import choose_peers, choose_server
from benchmark.workspace import open_workspace


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "echo",
        help="messages a second and round trips of an echo server",
        description="Open a server and a load client, each in a process of its own and, where"
        " there are two, on a CPU of its own. The client plays ping-pong on many connections and"
        " compares every byte that comes back.",
    )
    add_common(parser, "ws")
    add_number(parser, "--connections", int, 1, 50, "N", "connections to open")
    add_servers(parser)
    in_flight = "messages each connection keeps under way"
    add_number(parser, "--in-flight", int, 1, 1, "N", in_flight)
    add_load(parser, seconds=5.0, warmup=1.0)
    rounds = "turns of each server, in changing order (default: 1 alone, 3 with peers)"
    add_number(parser, "--rounds", int, 1, None, "N", rounds)
    parser.set_defaults(run=run)


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Put the server under test and its peers under the same load.

    Raises:
        BenchmarkError: A server or the load failed.
    """
    server = choose_server(options.server, options.transport)
    peers, skipped = choose_peers(options.peers, options.transport, server.name)
    for line in skipped:
        console.print(line, soft_wrap=True)
    plan = Echo(
        transport=options.transport,
        servers=[server, *peers],
        connections=options.connections,
        in_flight=options.in_flight,
        size=options.size,
        seconds=options.seconds,
        warmup=options.warmup,
        rounds=options.rounds or (3 if peers else 1),
    )
    turns = plan.turns()
    length = plan.warmup + plan.seconds
    runs = []
    with (
        open_workspace(plan.transport, options.client) as workspace,
        Progress(console, length * len(turns)) as progress,
    ):
        for number, kind in turns:
            progress.begin(f"round {number} of {plan.rounds}, {kind.name}")
            found = await run_turn(plan, number, kind, workspace, progress.update)
            runs.append(found)
            rate = found.result.messages / found.result.elapsed
            progress.end(length, f"{rate:,.0f} messages/s")
    runs.sort(key=lambda turn: turn.round)
    names = [kind.name for kind in plan.servers]
    by_server = medians(runs)
    summary = {name: by_server[name] for name in names}
    console.print(echo_title(plan), soft_wrap=True)
    console.print(echo_table(summary))
    for line in remarks(plan, summary, runs[0].result.client):
        console.print(line, soft_wrap=True)
    record.save(
        record.target(options, "echo", plan.transport),
        {
            "benchmark": "echo",
            **record.describe(arguments),
            "settings": {**asdict(plan, recurse=False), "servers": names},
            "summary": summary,
            "ratios": ratios(server.name, summary),
            "rounds": [
                {"round": turn.round, "server": turn.server, **described(turn.result)}
                for turn in runs
            ],
        },
        console,
    )
