"""``python -m benchmark all``: every benchmark whose results are kept, one after the other."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmark import record
from benchmark.errors import BenchmarkError
from benchmark.load.client import LoadError
from benchmark.options import Commands


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "all",
        help="run every benchmark whose results are kept",
        description="Run every benchmark whose results are kept, each as it says there, one after"
        " the other. With --save the results go into benchmark/results, and the documents are"
        " written anew from them.",
    )
    parser.add_argument("--only", metavar="NAME,NAME", help="these benchmarks only")
    parser.add_argument(
        "--quick", action="store_true", help="a few seconds each, to see whether all is there"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--save", action="store_true", help="keep the results")
    where.add_argument(
        "--results",
        type=Path,
        default=record.RESULTS,
        metavar="DIRECTORY",
        help="where the results go otherwise (default: ./benchmark-results)",
    )
    parser.set_defaults(run=run)


async def run(options: Namespace, _arguments: Sequence[str], console: Console) -> None:
    """Run them; one that fails does not keep the others from being run.

    Raises:
        BenchmarkError: Some failed, or there is none of that name.
    """
    from benchmark.commands import all_kept, build_parser  # which this module is one of

    kept = {each.name: each for each in all_kept()}
    names = list(kept) if options.only is None else options.only.split(",")
    for name in names:
        if name not in kept:
            raise BenchmarkError(f"{name!r} is none of {', '.join(kept)}")
    failed = []
    for name in names:
        arguments = [name, *kept[name].arguments, *(kept[name].quick if options.quick else ())]
        if options.save:
            arguments.append("--save")
        else:
            arguments += ["--json", str(options.results / f"{name}.json")]
        console.rule(" ".join(arguments))
        began = time.monotonic()
        found = build_parser().parse_args(arguments)
        try:
            await found.run(found, arguments, console)
        except (BenchmarkError, LoadError) as error:
            failed.append(name)
            console.print(f"{name} failed: {error}", soft_wrap=True)
        console.print(f"({time.monotonic() - began:.0f} s)")
    if options.save:
        report = build_parser().parse_args(["report"])
        await report.run(report, ["report"], console)
    if failed:
        raise BenchmarkError(f"failed: {', '.join(failed)}")
