"""``python -m benchmark idle-memory``: what an idle connection costs in memory."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from attrs import asdict
from rich.console import Console

from benchmark import record
from benchmark.bars import Bar, bars_table
from benchmark.idle import measure_memory
from benchmark.kept import Kept, Results, provenance
from benchmark.options import Commands, add_common, add_number, add_servers
from benchmark.report import idle_table
from benchmark.servers import choose_peers, choose_server
from benchmark.tables import markdown_table
from benchmark.workspace import open_workspace

MOST = 4096  # bytes that an idle WebSocket connection may take


def block(results: Results) -> str:
    """The table of a results file in Markdown."""
    rows = [
        (
            each["server"],
            f"{each['connections']:,}",
            f"{each['bytes_per_connection'] / 1024:.1f}",
        )
        for each in results["results"]
    ]
    table = markdown_table(("server", "idle connections", "KiB each"), rows)
    bars = bars_table(map(Bar.read, results["bars"]))
    return f"{table}\n\n{bars}\n\n{provenance(results)}"


KEPT = Kept(
    name="idle-memory",
    arguments=("--peers", "all"),
    quick=("--connections", "100"),
    blocks={"idle-memory": block},
)


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "idle-memory",
        help="memory of an idle connection",
        description="Open connections that stay idle, and tell what the server's memory grew by"
        " for each.",
    )
    add_common(parser, "ws")
    add_number(parser, "--connections", int, 1, 8000, "N", "connections to open")
    add_servers(parser)
    parser.set_defaults(run=run)


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Measure what an idle connection costs in memory.

    Raises:
        BenchmarkError: A server or a connection failed.
    """
    server = choose_server(options.server, options.transport)
    peers, skipped = choose_peers(options.peers, options.transport, server.name)
    for line in skipped:
        console.print(line, soft_wrap=True)
    found = []
    with open_workspace(options.transport, "python") as workspace:
        for kind in (server, *peers):
            memory = await measure_memory(kind, options.transport, options.connections, workspace)
            found.append(memory)
    console.print(idle_table(found))
    bars = []
    if options.transport == "ws":
        per_connection = found[0].per_connection / 1024
        what = f"an idle WebSocket connection of {options.connections:,}"
        bars = [Bar(what=what, measured=per_connection, limit=MOST / 1024, most=True, unit="KiB")]
    for bar in bars:
        console.print(str(bar), soft_wrap=True)
    results = [{**asdict(idle), "bytes_per_connection": idle.per_connection} for idle in found]
    record.save(
        record.target(options, "idle-memory", options.transport),
        {
            "benchmark": "idle-memory",
            **record.describe(arguments),
            "results": results,
            "bars": [bar.described() for bar in bars],
        },
        console,
    )
