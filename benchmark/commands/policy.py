"""``python -m benchmark policy``: the policy on a simulated clock, with very many workers."""

from __future__ import annotations

import asyncio
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence

from attrs import asdict
from rich.console import Console
from rich.table import Table

from benchmark import record
from benchmark.kept import Kept, Results, provenance
from benchmark.options import Commands, add_number, add_results
from benchmark.progress import Progress
from benchmark.simulation.figures import Figures, figures_of
from benchmark.simulation.population import KINDS
from benchmark.simulation.world import RAMP, Settings, World
from benchmark.tables import markdown_table, plain_table

SIZES = (1_000, 10_000, 100_000)  # a million can be asked for, and takes long
FEWEST = 10  # so that there are some of every kind
MOST_NODES = 10_000
MOST_NODES_ONE_LOCK = 8


def block(results: Results) -> str:
    """The table of a results file in Markdown."""
    rows = [
        (
            f"{one['workers']:,}",
            f"{one['kept']:.3%}",
            f"{one['nodes']:.1f}",
            str(one["fewest_possible"]),
            f"{one['moves_per_worker_hour']:.2f}",
            f"{one['placement_p50'] * 1e6:,.0f} / {one['placement_p99'] * 1e6:,.0f}",
            f"{one['review_p50'] * 1e6:,.0f} / {one['review_p99'] * 1e6:,.0f}",
        )
        for one in results["results"]
    ]
    head = ("workers", "kept", "nodes", "least possible", "moves per worker and hour")
    times = ("placing, µs p50 / p99", "reviewing, µs p50 / p99")
    return f"{markdown_table((*head, *times), rows, words=0)}\n\n{provenance(results)}"


KEPT = Kept(
    name="policy",
    quick=("--workers", "100", "--seconds", "5", "--settle", "20"),
    blocks={"policy": block},
)


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "policy",
        help="the policy simulated, with up to a million workers",
        description="Have the Foreman's policy place, watch, move and merge workers of which only"
        " the costs exist: some strict, some loose, some that declare one thing and do another."
        " Their costs drift and burst, and they come and go. The clock is simulated; what a"
        " decision takes is measured, as CPU time.",
    )
    parser.add_argument(
        "--workers",
        type=_read_sizes,
        default=SIZES,
        metavar="N,N",
        help=f"how many, in turn, at least {FEWEST} (default: {','.join(map(str, SIZES))})",
    )
    parser.add_argument(
        "--lock",
        action="store_true",
        help="with an interpreter lock: nodes do not compute at the same time, there are at most"
        f" {MOST_NODES_ONE_LOCK}, and everybody runs as much more seldom as one processor needs",
    )
    add_number(parser, "--max-nodes", int, 1, None, "N", "the most nodes there may be")
    seconds = "measured, by the simulated clock"
    add_number(parser, "--seconds", float, 1, 60.0, "S", seconds)
    settle = f"simulated before that; all workers come within the first {RAMP:g}"
    add_number(parser, "--settle", float, RAMP, 60.0, "S", settle)
    add_number(parser, "--seed", int, 0, 0, "N", "for everything that is drawn at random")
    add_results(parser)
    parser.set_defaults(run=run)


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Simulate each size in turn.

    Raises:
        BenchmarkError: The results cannot be written.
    """
    found: list[Figures] = []
    length = options.settle + options.seconds
    most = MOST_NODES_ONE_LOCK if options.lock else MOST_NODES
    with Progress(console, length * sum(options.workers)) as progress:
        for workers in options.workers:
            settings = Settings(
                workers=workers,
                seconds=options.seconds,
                settle=options.settle,
                lock=options.lock,
                max_nodes=options.max_nodes or most,
                seed=options.seed,
            )
            progress.begin(f"{workers:,} workers")
            world = World(settings)
            for now in world.run():
                progress.update(now * workers, world.tally.promises.runs)
                await asyncio.sleep(0)  # where an interrupt is noticed
            figures = figures_of(world, settings)
            found.append(figures)
            progress.end(length * workers, f"{figures.nodes:.1f} nodes")
    console.print(_title(options), soft_wrap=True)
    console.print(_table(found))
    for line in _remarks():
        console.print(line, soft_wrap=True)
    record.save(
        record.target(options, "policy"),
        {
            "benchmark": "policy",
            **record.describe(arguments),
            "kinds": [asdict(kind) for kind in KINDS],
            "results": [asdict(figures) for figures in found],
        },
        console,
    )


def _read_sizes(text: str) -> tuple[int, ...]:
    sizes = text.split(",")
    if not all(size.strip().isdecimal() and int(size) >= FEWEST for size in sizes):
        raise ArgumentTypeError(f"must be whole numbers of at least {FEWEST}, not {text!r}")
    return tuple(int(size) for size in sizes)


def _title(options: Namespace) -> str:
    nodes = "one interpreter lock" if options.lock else "nodes in parallel"
    return (
        f"The policy on a simulated clock, {nodes}:"
        f" {options.seconds:g} s after {options.settle:g} s; CPU times in µs"
    )


def _table(found: Sequence[Figures]) -> Table:
    """One row per size."""
    table = plain_table(
        *("workers", "kept", "nodes", "least\npossible", "moves/\nworker h", "place\np50", "\np99"),
        *("review\np50", "\np99", "learn"),
    )
    for one in found:
        times = (one.placement_p50, one.placement_p99, one.review_p50, one.review_p99)
        table.add_row(
            f"{one.workers:,}",
            f"{one.kept:.3%}",
            f"{one.nodes:.1f}",
            str(one.fewest_possible),
            f"{one.moves_per_worker_hour:.2f}",
            *(f"{seconds * 1e6:,.0f}" for seconds in times),
            f"{one.learning * 1e6:.1f}",
        )
    return table


def _remarks() -> list[str]:
    return [
        "kept: the share of times when a ready worker was served within what it declared, of those"
        " who do not hold their node longer than that themselves",
        "least possible: a node for each of these others, where nodes run in parallel, and for"
        " the rest the larger of their true load over what a node is filled to, and the number of"
        " kinds no two of which can share a node",
    ]
