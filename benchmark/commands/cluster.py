"""``python -m benchmark cluster``: servers joined by a backplane, beside its library by itself."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import asdict, define, field
from rich.console import Console

from benchmark import record
from benchmark.bars import Bar
from benchmark.brokers.process import BrokerMissing
from benchmark.cluster import report
from benchmark.cluster.backplanes import BACKPLANES, Fabric, broker_missing, choose
from benchmark.cluster.crossing import ALONE, BARE, OURS, Crossings, Turn, run_bare, run_ours
from benchmark.cluster.scaling import SIZES, count_sizes
from benchmark.errors import BenchmarkError
from benchmark.kept import Kept
from benchmark.options import Commands, add_number, add_results
from benchmark.progress import Progress
from benchmark.workspace import Workspace, open_workspace

KEPT = Kept(
    name="cluster",
    quick=("--quick",),
    blocks={
        "cluster-crossing": report.crossing_block,
        "cluster-scaling": report.scaling_block,
    },
)

QUICK = {
    "rounds": 1,
    "seconds": 0.5,
    "warmup": 0.2,
    "pairs": 4,
    "sizes": (1, 4),
}


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
        " message that concerns two of them.",
    )
    parser.add_argument(
        "--backplane",
        metavar="NAME,NAME",
        help=f"these instead of all that there is what they need for: {', '.join(BACKPLANES)}",
    )
    parser.add_argument(
        "--only", metavar="ROW,ROW", help=f"these rows instead of all: {', '.join(ROWS)}"
    )
    add_number(parser, "--rounds", int, 1, 5, "N", "turns of each side, in changing order")
    add_number(parser, "--seconds", float, 0.1, 3.0, "S", "measured in each loop of a turn")
    add_number(parser, "--warmup", float, 0, 1.0, "S", "load before each measurement, seconds")
    add_number(parser, "--pairs", int, 1, 50, "N", "clients of each of the two servers")
    in_flight = "messages that each client has under way, where messages a second are measured"
    add_number(parser, "--in-flight", int, 1, 16, "N", in_flight)
    rate = "messages a second that each client sends, where latencies are measured"
    add_number(parser, "--rate", float, 0.1, 10.0, "N", rate)
    add_number(parser, "--size", int, 16, 128, "BYTES", "payload of a message, bytes")
    add_number(parser, "--strict", int, 1, 10, "N", "strict connections to each server")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a round of everything, small and short: to see that it works, not for figures",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="the exit status is 1 when a bar is not met",
    )
    add_results(parser)
    parser.set_defaults(run=run)


@define(eq=False)
class Ground:
    """What every row has at hand.

    Attributes:
        options: The command line, with what ``--quick`` makes of it.
        fabrics: The backplanes, running.
        workspace: Where files go.
        console: Where results are shown.
        errors: Where it is told how far it is: standard error.
        bars: What was set as a bar, and measured so far.
    """

    options: Namespace
    fabrics: list[Fabric]
    workspace: Workspace
    console: Console
    errors: Console
    bars: list[Bar] = field(factory=list)

    def say(self, text: str) -> None:
        """Tell how far it is."""
        self.errors.print(text, style="dim", soft_wrap=True)

    def show(self, title: str, table: Any, bars: Sequence[Bar]) -> None:
        """Show what a row came to."""
        self.console.print(title, soft_wrap=True)
        self.console.print(table)
        for bar in bars:
            self.console.print(str(bar), soft_wrap=True)
        self.bars += bars


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Measure row by row.

    Raises:
        BenchmarkError: Something could not be measured; or a bar was not met, and is to be.
    """
    rows = _chosen(options.only)
    if options.quick:
        vars(options).update(QUICK)
    else:
        options.sizes = SIZES
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
        ground = Ground(options, fabrics, workspace, console, errors)
        for name in rows:
            found[name] = await ROWS[name](ground)
    record.save(
        record.target(options, "cluster"),
        {
            "benchmark": "cluster",
            **record.describe(arguments),
            "backplanes": [fabric.name for fabric in fabrics],
            "skipped": skipped,
            "rows": found,
        },
        console,
    )
    missed = [str(bar) for bar in ground.bars if bar.met is False]
    if missed and options.check:
        raise BenchmarkError("not met: " + "; ".join(missed))


async def _crossing(ground: Ground) -> dict[str, Any]:
    options = ground.options
    plan = Crossings(
        pairs=options.pairs,
        in_flight=options.in_flight,
        rate=options.rate,
        size=options.size,
        strict=options.strict,
        strict_rate=50.0,
        seconds=options.seconds,
        warmup=options.warmup,
    )
    sides: list[tuple[str, str, Fabric | None]] = [(ALONE, OURS, None)]
    for fabric in ground.fabrics:
        sides += [(fabric.name, OURS, fabric), (fabric.name, BARE, fabric)]
    turns = []
    with Progress(ground.errors, plan.length * len(sides) * options.rounds) as progress:
        for number in range(options.rounds):
            for turn in range(len(sides)):
                name, side, on = sides[(number + turn) % len(sides)]
                progress.begin(f"round {number + 1} of {options.rounds}, {name}, {side}")
                if side == BARE:
                    assert on is not None
                    figures = await run_bare(plan, on, progress.update)
                else:
                    figures = await run_ours(plan, on, ground.workspace, progress.update)
                turns.append(Turn(round=number + 1, backplane=name, side=side, figures=figures))
                rate, p50 = figures["messages_per_second"], figures["p50_seconds"]
                progress.end(plan.length, f"{rate:,.0f} messages/s, p50 {p50 * 1e3:.3f} ms")
    summary = report.summarize(sorted(turns, key=lambda turn: sides_order(turn, sides)))
    libraries = {fabric.name: BACKPLANES[fabric.name].library for fabric in ground.fabrics}
    bars = report.crossing_bars(summary)
    rows = report.crossing_rows(summary, libraries)
    title = f"Between two servers: {plan.size} bytes, {plan.pairs} clients each; ms"
    ground.show(title, report.table(report.CROSSING_HEAD, rows), bars)
    return {
        "settings": asdict(plan),
        "rounds": options.rounds,
        "libraries": libraries,
        "summary": summary,
        "bars": [bar.described() for bar in bars],
        "turns": [asdict(turn) for turn in turns],
    }


def sides_order(turn: Turn, sides: Sequence[tuple[str, str, Fabric | None]]) -> tuple[int, int]:
    """Sides as they are listed, each in the order of its rounds."""
    order = [(name, side) for name, side, _ in sides]
    return order.index((turn.backplane, turn.side)), turn.round


async def _scaling(ground: Ground) -> dict[str, Any]:
    messages = 20 if ground.options.quick else 200
    counts = []
    for fabric in ground.fabrics:
        counts += await count_sizes(
            fabric, ground.options.sizes, messages, ground.workspace, ground.say
        )
    described = [count.described() for count in counts]
    bars = report.scaling_bars(described)
    title = f"Many servers, two of them interested: frames for each of {messages} messages"
    ground.show(title, report.table(report.SCALING_HEAD, report.scaling_rows(described)), bars)
    return {
        "messages": messages,
        "counts": described,
        "bars": [bar.described() for bar in bars],
    }


ROWS: Mapping[str, Callable[[Ground], Awaitable[dict[str, Any]]]] = {
    "crossing": _crossing,
    "scaling": _scaling,
}


def _chosen(names: str | None) -> list[str]:
    if names is None:
        return list(ROWS)
    chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        if name not in ROWS:
            raise BenchmarkError(f"there is no row {name!r}, only {', '.join(ROWS)}")
    return chosen
