"""``python -m benchmark moves``: open connections moved among nodes at random, under load."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from statistics import median

from attrs import asdict
from rich.console import Console
from rich.table import Table

from benchmark import record
from benchmark.errors import BenchmarkError
from benchmark.histogram import Histogram
from benchmark.kept import Kept, Results, provenance
from benchmark.moves import MOVING, SMALLEST, Kind, Moves, Turn, Verdict, judge, order_of, run_turn
from benchmark.options import Commands, add_common, add_number
from benchmark.progress import Progress
from benchmark.report import described, figures_of, latency, share
from benchmark.tables import plain_table
from benchmark.workspace import open_workspace

PERCENTS = ("p50", "p99", "p99.9")
MOST_ROUNDS = 50  # after which the moves asked for are not to be had


def block(results: Results) -> str:
    """Some sentences in Markdown."""
    found, settings = results["summary"], results["settings"]
    pauses = " / ".join(latency(found["pause_seconds"][name]) for name in (*PERCENTS, "max"))
    return (
        f"{settings['connections']} connections that echo over `{settings['transport']}`, moved at"
        f" random among {settings['nodes']} nodes: {found['done']:,} moves,"
        f" {found['given_up']:,} given up, {found['messages']:,} replies compared, none lost,"
        f" doubled or out of order. The pause of a move at a fixed rate of messages, p50 / p99 /"
        f" p99.9 / max: {pauses} ms. With {found['moves_per_second']:,.0f} moves a second the"
        f" server echoes {found['throughput_ratio']:.0%} of what it does without.\n\n"
        f"{provenance(results)}"
    )


KEPT = Kept(
    name="moves",
    quick=("--moves", "20", "--seconds", "0.5", "--warmup", "0.1", "--rounds", "1"),
    blocks={"moves": block},
)


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "moves",
        help="open connections moved among nodes at random, under load",
        description="Open a server with some nodes, put it under an echo load of which every reply"
        " is compared, in content and order, and move connections at random among the nodes"
        " meanwhile. The exit status is 1 when a message was lost, doubled or put out of order.",
    )
    add_common(parser, "ws")
    add_number(parser, "--connections", int, 1, 50, "N", "connections to open")
    add_number(parser, "--in-flight", int, 1, 1, "N", "messages each connection keeps under way")
    size = "payload of a message, bytes"
    add_number(parser, "--size", int, SMALLEST, 128, "BYTES", size)
    add_number(parser, "--nodes", int, 2, 3, "N", "nodes")
    moves = "moves to make; rounds go on until they were made"
    add_number(parser, "--moves", int, 1, 10_000, "N", moves)
    add_number(parser, "--at-once", int, 1, 4, "N", "moves under way at a time, at most")
    paced = "messages a second of each connection in the runs at a fixed rate"
    add_number(parser, "--paced", float, 0.1, 50.0, "N", paced)
    parser.add_argument(
        "--rate",
        type=_read_rate,
        default=None,
        metavar="N",
        help="moves begun a second, at most (default: auto, which is as many as --at-once allows)",
    )
    add_number(parser, "--seconds", float, 0.01, 3.0, "S", "measured in each run")
    add_number(parser, "--warmup", float, 0, 0.5, "S", "load before each measurement, seconds")
    rounds = "the fewest rounds: without moves, with moves, with moves at a fixed rate"
    add_number(parser, "--rounds", int, 1, 3, "N", rounds)
    add_number(parser, "--seed", int, 0, 0, "N", "for the choice of connections and nodes")
    parser.add_argument(
        "--client", choices=("auto", "c", "python"), default="auto", help="load client"
    )
    parser.set_defaults(run=run)


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Measure a server with and without moves, in turn.

    Raises:
        BenchmarkError: A message was lost, doubled or out of order, the moves could not be made,
            or the server or the load failed.
    """
    obstacle = MOVING.obstacle(options.transport)
    if obstacle is not None:
        raise BenchmarkError(obstacle)
    plan = Moves(
        transport=options.transport,
        connections=options.connections,
        in_flight=options.in_flight,
        size=options.size,
        nodes=options.nodes,
        moves=options.moves,
        at_once=options.at_once,
        paced=options.paced,
        rate=options.rate,
        seconds=options.seconds,
        warmup=options.warmup,
        rounds=options.rounds,
        seed=options.seed,
    )
    length = plan.warmup + plan.seconds
    turns: list[Turn] = []
    with (
        open_workspace(plan.transport, options.client) as workspace,
        Progress(console, len(Kind) * length * plan.rounds) as progress,
    ):
        for number in range(1, MOST_ROUNDS + 1):
            for kind in order_of(number):
                progress.begin(f"round {number}, {kind.value}")
                turn = await run_turn(plan, number, kind, workspace, progress.update)
                turns.append(turn)
                progress.end(length, f"{turn.throughput:,.0f} messages/s, {turn.done:,} moves")
            if number >= plan.rounds and sum(turn.done for turn in turns) >= plan.moves:
                break
        else:
            done = sum(turn.done for turn in turns)
            raise BenchmarkError(f"only {done} of {plan.moves} moves in {MOST_ROUNDS} rounds")
    verdict = judge(turns)
    console.print(_title(plan, turns), soft_wrap=True)
    console.print(_table(turns))
    for line in _remarks(verdict):
        console.print(line, soft_wrap=True)
    record.save(
        record.target(options, "moves", plan.transport),
        {
            "benchmark": "moves",
            **record.describe(arguments),
            "settings": asdict(plan),
            "summary": {
                **asdict(
                    verdict, recurse=False, filter=lambda _, value: not isinstance(value, Histogram)
                ),
                "pause_seconds": _percentiles(verdict.pauses),
                "pause_seconds_saturated": _percentiles(verdict.pauses_saturated),
            },
            "rounds": [
                {
                    "round": turn.round,
                    "kind": turn.kind.value,
                    "done": turn.done,
                    "given_up": turn.given_up,
                    "pause_seconds": _percentiles(turn.pauses),
                    **described(turn.result),
                }
                for turn in turns
            ],
        },
        console,
    )


def _read_rate(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise ArgumentTypeError(f"must be auto or a number above 0, not {text!r}")
    return rate


def _percentiles(durations: Histogram) -> dict[str, float]:
    found = {f"p{percent:g}": durations.percentile(percent) / 1e9 for percent in (50, 99, 99.9)}
    return {**found, "max": durations.maximum / 1e9}


def _title(plan: Moves, turns: Sequence[Turn]) -> str:
    rate = "" if plan.rate is None else f", {plan.rate:g} a second at most"
    return (
        f"{plan.transport} echo: {plan.connections} connections, {plan.in_flight} in flight,"
        f" {plan.size} bytes, {plan.nodes} nodes; up to {plan.at_once} moves at once{rate}\n"
        f"medians of {turns[-1].round} rounds of {plan.seconds:g} s; round trips in ms"
    )


def _table(turns: Sequence[Turn]) -> Table:
    """Medians over the rounds, of each kind of run."""
    table = plain_table("msg/s", *PERCENTS, "max", "server\nCPU", "client\nCPU", label="")
    for kind in Kind:
        runs = [figures_of(turn.result) for turn in turns if turn.kind is kind]
        typical = {name: median(run[name] for run in runs) for name in runs[0]}
        table.add_row(
            kind.value,
            f"{typical['messages_per_second']:,.0f}",
            *(latency(typical[f"{name}_seconds"]) for name in (*PERCENTS, "max")),
            share(typical.get("server_cpu")),
            share(typical["client_cpu"]),
        )
    return table


def _remarks(verdict: Verdict) -> list[str]:
    return [
        f"{verdict.done:,} moves, {verdict.given_up} given up;"
        f" {verdict.messages:,} replies compared: none lost, doubled or out of order",
        f"pause at a fixed rate, p50 / p99 / p99.9 / max: {_in_a_row(verdict.pauses)} ms;"
        f" without a pause in the load: {_in_a_row(verdict.pauses_saturated)} ms",
        f"throughput with moves / without: {verdict.throughput_ratio:.2f}"
        f" at {verdict.moves_per_second:,.0f} moves a second",
    ]


def _in_a_row(pauses: Histogram) -> str:
    return " / ".join(latency(seconds) for seconds in _percentiles(pauses).values())
