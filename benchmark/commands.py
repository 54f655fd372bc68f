"""The commands behind ``python -m benchmark``: each measures, shows, and writes its results."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from attrs import asdict
from rich.console import Console

from benchmark import record
from benchmark.echo import Echo, run_turn
from benchmark.progress import Progress
from benchmark.report import echo_table, echo_title, figures_of, medians, ratios, remarks
from benchmark.servers import choose_peers, choose_server
from benchmark.workspace import open_workspace


async def echo(options: Namespace, command: Sequence[str], console: Console) -> None:
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
            run = await run_turn(plan, number, kind, workspace, progress.update)
            runs.append(run)
            rate = run.result.messages / run.result.elapsed
            progress.end(length, f"{rate:,.0f} messages/s")
    runs.sort(key=lambda run: run.round)
    names = [kind.name for kind in plan.servers]
    found = medians(runs)
    summary = {name: found[name] for name in names}
    console.print(echo_title(plan), soft_wrap=True)
    console.print(echo_table(summary))
    for line in remarks(plan, summary, runs[0].result.client):
        console.print(line, soft_wrap=True)
    save(
        options.json or record.default_path(f"echo-{plan.transport}"),
        {
            "benchmark": "echo",
            **record.describe(command),
            "settings": {**asdict(plan, recurse=False), "servers": names},
            "summary": summary,
            "ratios": ratios(server.name, summary),
            "rounds": [
                {
                    "round": run.round,
                    "server": run.server,
                    "figures": figures_of(run.result),
                    **asdict(run.result),
                }
                for run in runs
            ],
        },
        console,
    )


def save(path: Path, content: object, console: Console) -> None:
    """Write the results and say where they are."""
    record.write(path, content)
    console.print(f"Results: {path}", soft_wrap=True)
