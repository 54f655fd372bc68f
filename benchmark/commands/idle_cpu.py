"""``python -m benchmark idle-cpu``: what idle nodes cost in CPU time."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from attrs import asdict
from rich.console import Console

from benchmark import record
from benchmark.idle import measure_cpu
from benchmark.kept import Kept, Results, provenance
from benchmark.options import Commands, add_common, add_number
from benchmark.servers import OURS, choose_server
from benchmark.workspace import open_workspace


def block(results: Results) -> str:
    """A sentence in Markdown."""
    return (
        f"{results['nodes']} idle nodes with {results['connections']} open connections use"
        f" {results['cpu_share']:.2%} of a core.\n\n{provenance(results)}"
    )


KEPT = Kept(name="idle-cpu", quick=("--seconds", "0.5"), blocks={"idle-cpu": block})


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "idle-cpu",
        help="CPU time of idle nodes",
        description="Open connections that stay idle on a number of nodes, and tell the CPU time"
        " that the server uses.",
    )
    add_common(parser, "ws")
    add_number(parser, "--connections", int, 1, 50, "N", "connections to open")
    add_number(parser, "--nodes", int, 1, 4, "N", "nodes")
    add_number(parser, "--seconds", float, 0.1, 10.0, "S", "how long to watch, seconds")
    parser.set_defaults(run=run)


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Measure what idle nodes cost in CPU time.

    Raises:
        BenchmarkError: The server or a connection failed.
    """
    server = choose_server(OURS, options.transport)
    with open_workspace(options.transport, "python") as workspace:
        idle = await measure_cpu(
            server,
            options.transport,
            options.nodes,
            options.connections,
            options.seconds,
            workspace,
        )
    console.print(
        f"{idle.nodes} idle nodes with {idle.connections} open connections used"
        f" {idle.cpu * 1000:.1f} ms of CPU in {idle.seconds:g} s: {idle.share:.3%} of a core",
        soft_wrap=True,
    )
    record.save(
        record.target(options, "idle-cpu"),
        {
            "benchmark": "idle-cpu",
            **record.describe(arguments),
            **asdict(idle),
            "cpu_share": idle.share,
        },
        console,
    )
