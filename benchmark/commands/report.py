"""``python -m benchmark report``: tables and pictures of the documents, from the kept results."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmark import record
from benchmark.errors import BenchmarkError
from benchmark.options import Commands
from benchmark.pages import Pages

ROOT = Path(__file__).parents[2]


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "report",
        help="write the README's and the docs' tables and pictures from the kept results",
        description="Write what stands between <!-- benchmark:NAME --> and <!-- end --> in"
        " README.md and docs/*.md, and the pictures in docs, from the files in benchmark/results.",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; the exit status is 1 when something would change",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=record.KEPT,
        metavar="DIRECTORY",
        help="where the results are (default: benchmark/results)",
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=ROOT,
        metavar="DIRECTORY",
        help="where README.md and docs are (default: this checkout)",
    )
    parser.set_defaults(run=run)


async def run(options: Namespace, _arguments: Sequence[str], console: Console) -> None:
    """Write the documents, or check them.

    Raises:
        BenchmarkError: A marker or a results file is not as it should be, or, with ``--check``,
            something is not what would be written.
    """
    from benchmark.commands import all_kept  # which this module is one of

    pages = Pages(kept=all_kept(), results=options.results, root=options.root)
    stale = pages.update(write=not options.check)
    names = ", ".join(str(path.relative_to(options.root)) for path in stale)
    if stale and options.check:
        raise BenchmarkError(f"{names}: not what `python -m benchmark report` writes")
    console.print(f"Written: {names}" if stale else "All is as the results say.", soft_wrap=True)
