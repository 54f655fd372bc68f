"""``python -m benchmark cluster``: servers joined by a backplane, beside its library by itself."""

from __future__ import annotations

import contextlib
import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import evolve
from rich.console import Console

from benchmark import record
from benchmark.brokers.process import BrokerMissing
from benchmark.cluster import report
from benchmark.cluster.backplanes import BACKPLANES, broker_missing, choose
from benchmark.cluster.crossing import Crossings
from benchmark.cluster.rows import ROWS, Ground, Scale
from benchmark.errors import BenchmarkError
from benchmark.kept import Kept
from benchmark.options import (
    Commands,
    add_number,
    add_quick_and_check,
    add_results,
    add_rows,
    choose_rows,
)
from benchmark.workspace import open_workspace

KEPT = Kept(
    name="cluster",
    quick=("--quick",),
    blocks={
        "cluster-crossing": report.crossing_block,
        "cluster-scaling": report.scaling_block,
        "cluster-simulation": report.simulation_block,
        "cluster-returning": report.returning_block,
    },
)

STRICT_RATE = 50.0  # messages a second of each strict connection


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "cluster",
        help="servers joined by ZeroMQ, RabbitMQ or NATS, beside the bare library",
        description="Measure what a cluster costs, row by row, on each backplane, with real"
        " brokers that are started for it and ended after. crossing: messages between the clients"
        " of two servers, beside those of one server and beside two processes with nothing but the"
        " broker's client library, which publish and subscribe alike; and strict connections to"
        " both servers meanwhile. scaling: what each of up to 32 servers sends and hears for a"
        " message that concerns two of them. simulation: the same to 1,000 servers, and what 10"
        " million clients take. returning: one of two servers is killed, and all of its clients"
        " connect to the other one at once.",
    )
    parser.add_argument(
        "--backplane",
        metavar="NAME,NAME",
        help=f"these instead of all that there is what they need for: {', '.join(BACKPLANES)}",
    )
    add_rows(parser, ROWS, ", of which --save keeps the others")
    add_number(parser, "--rounds", int, 1, 5, "N", "turns of each side, in changing order")
    add_number(parser, "--seconds", float, 0.1, 3.0, "S", "measured in each loop of a turn")
    add_number(parser, "--warmup", float, 0, 1.0, "S", "load before each measurement, seconds")
    add_number(parser, "--pairs", int, 1, 50, "N", "clients of each of the two servers")
    in_flight = "messages that each client has under way, where messages a second are measured"
    add_number(parser, "--in-flight", int, 1, 16, "N", in_flight)
    rate = "messages a second that each client sends, where latencies are measured"
    add_number(parser, "--rate", float, 0.1, 10.0, "N", rate)
    add_number(parser, "--size", int, 16, 128, "BYTES", "payload of a message, bytes")
    clients = "clients of the server that is killed"
    add_number(parser, "--clients", int, 1, 5000, "N", clients)
    add_number(parser, "--strict", int, 1, 10, "N", "strict connections to each server")
    add_quick_and_check(parser, "a round of everything, small and short", "a bar is not met")
    add_results(parser)
    parser.set_defaults(run=run)


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Measure row by row.

    Raises:
        BenchmarkError: Something could not be measured; or a bar was not met, and is to be.
    """
    rows = choose_rows(options.only, ROWS)
    plan, scale = _sized(options)
    errors = Console(stderr=True, highlight=False)
    backplanes, skipped = choose(options.backplane)
    found: dict[str, dict[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        workspace = stack.enter_context(open_workspace("ws", "c"))
        fabrics = []
        for backplane in backplanes:
            try:
                fabrics.append(stack.enter_context(backplane.run()))
            except BrokerMissing as error:
                if options.backplane is not None:
                    raise
                skipped.append(broker_missing(backplane, error))
        for line in skipped:
            errors.print(line, soft_wrap=True)
        ground = Ground(plan, scale, fabrics, workspace, console, errors)
        for name in rows:
            row = await ROWS[name](ground)
            names = [fabric.name for fabric in fabrics]
            found[name] = {**record.describe(arguments), "backplanes": names, **row}
    path = record.target(options, "cluster")
    if options.save:
        found = {**_kept_rows(path), **found}
    content = {
        "benchmark": "cluster",
        "rows": {name: found[name] for name in ROWS if name in found},
    }
    record.save(path, content, console)
    missed = [str(bar) for bar in ground.bars if bar.met is False]
    if missed and options.check:
        raise BenchmarkError("not met: " + "; ".join(missed))


def _sized(options: Namespace) -> tuple[Crossings, Scale]:
    plan = Crossings(
        pairs=options.pairs,
        in_flight=options.in_flight,
        rate=options.rate,
        size=options.size,
        strict=options.strict,
        strict_rate=STRICT_RATE,
        seconds=options.seconds,
        warmup=options.warmup,
    )
    if not options.quick:
        return plan, Scale(rounds=options.rounds, clients=options.clients, strict=options.strict)
    return evolve(plan, pairs=4, seconds=0.5, warmup=0.2), Scale(
        rounds=1,
        sizes=(1, 4),
        messages=20,
        worlds=(10,),
        sample=1000,
        clients=50,
        strict=options.strict,
        before=0.7,
        patience=3.0,
    )


def _kept_rows(path: Path) -> dict[str, Any]:
    """The rows of a results file that is there: those that are measured anew take their place."""
    if not path.exists():
        return {}
    rows: dict[str, Any] = json.loads(path.read_text())["rows"]
    return rows
