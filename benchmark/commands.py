"""The commands behind ``python -m benchmark``: each measures, shows, and writes its results."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from attrs import asdict
from rich.console import Console

from benchmark import record
from benchmark.echo import Echo, run_turn
from benchmark.errors import BenchmarkError
from benchmark.idle import measure_cpu, measure_memory
from benchmark.mixed import (
    ARRANGEMENTS,
    LOOSE_LATENCY,
    STRICT_LATENCY,
    Mixed,
    run_arrangement,
)
from benchmark.progress import Progress
from benchmark.report import (
    described,
    echo_table,
    echo_title,
    idle_table,
    medians,
    mixed_remarks,
    mixed_table,
    mixed_title,
    ratios,
    remarks,
)
from benchmark.servers import OURS, choose_peers, choose_server
from benchmark.workspace import open_workspace


async def echo(options: Namespace, command: Sequence[str], console: Console) -> None:
    """Put the server under test and its peers under the same load.

    Raises:
        BenchmarkError: A server or the load failed.
    """
    if options.loose:
        await mixed(options, command, console)
        return
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
                    **described(run.result),
                }
                for run in runs
            ],
        },
        console,
    )


async def mixed(options: Namespace, command: Sequence[str], console: Console) -> None:
    """Put our server under strict and loose load together.

    Raises:
        BenchmarkError: A server or a load failed, or an option has no meaning here.
    """
    useless = {"--server": OURS, "--peers": None, "--rounds": None, "--in-flight": 1}
    for option, default in useless.items():
        if getattr(options, option[2:].replace("-", "_")) != default:
            raise BenchmarkError(f"--loose measures in its own way, without {option}")
    choose_server(OURS, options.transport)
    plan = Mixed(
        transport=options.transport,
        strict=options.connections,
        rate=options.rate,
        loose=options.loose,
        work=options.loose_work,
        hold=options.loose_hold,
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
    save(
        options.json or record.default_path(f"mixed-{plan.transport}"),
        {
            "benchmark": "mixed",
            **record.describe(command),
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


async def idle_memory(options: Namespace, command: Sequence[str], console: Console) -> None:
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
    results = [{**asdict(idle), "bytes_per_connection": idle.per_connection} for idle in found]
    save(
        options.json or record.default_path(f"idle-memory-{options.transport}"),
        {"benchmark": "idle-memory", **record.describe(command), "results": results},
        console,
    )


async def idle_cpu(options: Namespace, command: Sequence[str], console: Console) -> None:
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
    save(
        options.json or record.default_path("idle-cpu"),
        {
            "benchmark": "idle-cpu",
            **record.describe(command),
            **asdict(idle),
            "cpu_share": idle.share,
        },
        console,
    )


def save(path: Path, content: object, console: Console) -> None:
    """Write the results and say where they are."""
    record.write(path, content)
    console.print(f"Results: {path}", soft_wrap=True)
