"""``python -m benchmark hostile``: what peers that mean harm can do, and what they cannot."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from attrs import asdict
from rich.console import Console
from rich.table import Table

from benchmark import record
from benchmark.errors import BenchmarkError
from benchmark.hostile.ground import QUICK, Finding, Ground, Scale
from benchmark.hostile.rows import ROWS
from benchmark.kept import Kept, Results, provenance
from benchmark.options import Commands, add_quick_and_check, add_results, add_rows, choose_rows
from benchmark.tables import markdown_table, plain_table
from benchmark.workspace import open_workspace


def block(results: Results) -> str:
    """The table of a results file in Markdown."""
    rows = [
        (name if not number else "", each.what, *each.figures)
        for name, row in results["rows"].items()
        for number, each in enumerate(map(Finding.read, row))
    ]
    table = markdown_table(("attack", "", "measured", "at most", ""), rows, words=2)
    return f"{table}\n\n{provenance(results)}"


KEPT = Kept(name="hostile", quick=("--quick",), blocks={"hostile": block})


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "hostile",
        help="what peers that mean harm can do, each figure beside its bound",
        description="Attack a server with its production defaults: compression bombs, slow readers"
        " and slow peers in thousands, floods, storms of connections, a stop under load. Other"
        " processes attack than those that are served meanwhile, which send by a fixed timetable."
        " Each figure is printed beside the bound that it should keep within.",
    )
    add_rows(parser, ROWS)
    add_quick_and_check(parser, "a tenth of everything or less", "a figure is beyond its bound")
    add_results(parser)
    parser.set_defaults(run=run)


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Measure row by row.

    Raises:
        BenchmarkError: A row could not be measured; or a bound was not kept, and is to be.
    """
    names = choose_rows(options.only, ROWS)
    scale = QUICK if options.quick else Scale()
    found: dict[str, list[Finding]] = {}
    failures: list[str] = []
    with (
        open_workspace("ws", "auto") as workspace,
        open_workspace("wss", "python") as secured,
    ):
        for name in names:

            def say(what: str, row: str = name) -> None:
                console.print(f"{row}: {what}", style="dim", soft_wrap=True)

            try:
                found[name] = await ROWS[name](Ground(workspace, secured, scale, say))
            except BenchmarkError as error:  # the other rows are worth having all the same
                failures.append(f"{name}: {error}")
    console.print(_table(found))
    broken = [
        f"{name}: {each.what}" for name, row in found.items() for each in row if not each.held
    ]
    record.save(
        record.target(options, "hostile"),
        {
            "benchmark": "hostile",
            **record.describe(arguments),
            "settings": asdict(scale),
            "rows": {name: [each.described() for each in row] for name, row in found.items()},
        },
        console,
    )
    if failures:
        raise BenchmarkError("could not be measured: " + "; ".join(failures))
    if broken and options.check:
        raise BenchmarkError("beyond its bound: " + "; ".join(broken))


def _table(found: dict[str, list[Finding]]) -> Table:
    table = plain_table("measured", "at most", "", label="")
    for name, row in found.items():
        table.add_row(name, "", "", "", style="bold")
        for each in row:
            table.add_row(f"  {each.what}", *each.figures)
    return table
