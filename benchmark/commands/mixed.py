"""``python -m benchmark mixed``: a strict and a slow class of connections on one server."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from attrs import asdict
from rich.console import Console

from benchmark import record
from benchmark.mixed import (
    ARRANGEMENTS,
    LOOSE_LATENCY,
    STRICT_LATENCY,
    Mixed,
    run_arrangement,
)
from benchmark.options import Commands, add_common, add_load, add_number
from benchmark.progress import Progress
from benchmark.report import described, mixed_remarks, mixed_table, mixed_title
from benchmark.servers import OURS, choose_server
from benchmark.workspace import open_workspace


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "mixed", help="declared and attained latencies of a strict and a slow class together"
    )
    add_common(parser, "ws")
    add_number(parser, "--strict", int, 1, 20, "N", "strict connections")
    rate = "messages a second that each strict connection sends, whatever comes back"
    add_number(parser, "--strict-rate", float, 0.1, 50.0, "N", rate)
    add_number(parser, "--slow", int, 0, 4, "N", "slow connections")
    parser.add_argument(
        "--work",
        choices=("compute", "sleep"),
        default="compute",
        help="what a slow handler does with each message (default: compute)",
    )
    add_number(parser, "--hold", float, 0, 0.020, "S", "for how long, seconds")
    add_load(parser, seconds=5.0, warmup=1.0)
    parser.set_defaults(run=run)


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Put our server under strict and loose load together.

    Raises:
        BenchmarkError: A server or a load failed, or an option has no meaning here.
    """
    choose_server(OURS, options.transport)
    plan = Mixed(
        transport=options.transport,
        strict=options.strict,
        rate=options.strict_rate,
        loose=options.slow,
        work=options.work,
        hold=options.hold,
        size=options.size,
        seconds=options.seconds,
        warmup=options.warmup,
    )
    length = plan.warmup + plan.seconds
    outcomes = []
    with (
        open_workspace(plan.transport, options.client) as workspace,
        Progress(console, length * len(ARRANGEMENTS)) as progress,
    ):
        for arrangement in ARRANGEMENTS:
            progress.begin(arrangement)
            outcome = await run_arrangement(plan, arrangement, workspace, progress.update)
            outcomes.append(outcome)
            nodes = len(outcome.nodes)
            progress.end(length, f"{nodes} node{'s' * (nodes != 1)}")
    console.print(mixed_title(plan), soft_wrap=True)
    console.print(mixed_table(plan, outcomes))
    for line in mixed_remarks(outcomes):
        console.print(line, soft_wrap=True)
    record.save(
        options.json or record.default_path(f"mixed-{plan.transport}"),
        {
            "benchmark": "mixed",
            **record.describe(arguments),
            "settings": asdict(plan),
            "declared_seconds": {"strict": STRICT_LATENCY, "loose": LOOSE_LATENCY},
            "outcomes": [
                {
                    "arrangement": outcome.arrangement,
                    "nodes": outcome.nodes,
                    "strict": described(outcome.strict),
                    "loose": described(outcome.loose),
                }
                for outcome in outcomes
            ],
        },
        console,
    )
