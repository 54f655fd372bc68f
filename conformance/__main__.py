"""``python -m conformance``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmark.errors import BenchmarkError
from conformance.errors import ConformanceError

INTERRUPTED = 130  # what a shell reports for a command ended by SIGINT
TERMINATED = 143  # and by SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite.

    Returns:
        The exit status: 0 when every case passed; 1 when one did not, or the suite could not be
        run, with a message on standard error; 130 and 143 after SIGINT and SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = build_parser().parse_args(arguments)
    if find_spec("rich") is None or find_spec("trustme") is None:
        print("rich or trustme is missing: pip install 'foreman-server[bench]'", file=sys.stderr)
        return 1
    try:
        return asyncio.run(_until_terminated(options, arguments))
    except (ConformanceError, BenchmarkError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("conformance: interrupted", file=sys.stderr)
        return INTERRUPTED
    except asyncio.CancelledError:
        print("conformance: terminated", file=sys.stderr)
        return TERMINATED


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    from conformance.sides import SIDES
    from conformance.suite import default_cache

    parser = argparse.ArgumentParser(
        prog="python -m conformance",
        description="Run the Autobahn test suite against this project's WebSocket server and"
        " clients. Every case must be OK or INFORMATIONAL, in its messages and in its close. The"
        " suite needs a Python 2.7 and a C compiler, and is installed where it is not yet.",
    )
    parser.add_argument(
        "sides",
        nargs="*",
        metavar="SIDE",
        help=f"whom to test: {', '.join(SIDES)} (default: all of them)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--fast",
        action="store_true",
        help="353 of the 517 cases, in a fifteenth of the time: all but the long ones with"
        " compression",
    )
    which.add_argument(
        "--cases",
        action="append",
        metavar="PATTERN",
        help="only these, like 7.1.5, 7 or '12.*.1'; can be given several times",
    )
    parser.add_argument(
        "--jobs", type=_positive, default=1, metavar="N", help="sides at a time (default: 1)"
    )
    parser.add_argument(
        "--silence",
        type=_seconds,
        default=600.0,
        metavar="S",
        help="give up when no case begins for so long (default: 600 seconds; the suite gives its"
        " longest case 480)",
    )
    parser.add_argument(
        "--python", metavar="PATH", help="a Python 2.7 (default: one on the PATH, or of pyenv)"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        metavar="FOLDER",
        help="where the suite is installed, 100 MB (default: %(default)s)",
    )
    parser.add_argument(
        "--reports",
        type=Path,
        metavar="FOLDER",
        help="where the suite's reports go, one folder a side (default: a new one in"
        " ./benchmark-results, which version control ignores)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help="where the results go (default: likewise)"
    )
    return parser


async def _until_terminated(options: Namespace, arguments: Sequence[str]) -> int:
    """Run, and end all that was started on SIGTERM too."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(options, arguments)


async def run(options: Namespace, arguments: Sequence[str]) -> int:
    """Install the suite, run it, and tell what came out.

    Returns:
        The exit status.

    Raises:
        ConformanceError: It could not be run.
        BenchmarkError: The results could not be written.
    """
    from rich.console import Console

    from benchmark import record
    from conformance import summary
    from conformance.cases import ALL, FAST, Selection
    from conformance.progress import Progress
    from conformance.sides import SIDES, Outcome, run_side
    from conformance.suite import install

    console = Console(highlight=False)
    sides = list(dict.fromkeys(options.sides or SIDES))
    if unknown := [side for side in sides if side not in SIDES]:
        raise ConformanceError(f"there is no side {unknown[0]!r}, only {', '.join(SIDES)}")
    selection = FAST if options.fast else ALL
    if options.cases:
        selection = Selection(name="some", patterns=tuple(options.cases))
    results = options.json or record.default_path("conformance")
    reports = options.reports or results.with_suffix("")
    record.make_directory(results)
    suite = await install(
        options.cache, options.python, partial(console.print, soft_wrap=True, markup=False)
    )
    total = len(selection.choose(suite.cases))
    turns = asyncio.Semaphore(options.jobs)
    outcomes: dict[str, Outcome] = {}

    async def take_turn(side: str) -> None:
        async with turns:
            progress.begin(side)
            on_case = partial(progress.case, side)
            outcomes[side] = await run_side(
                side, suite, selection, reports / side, on_case, options.silence
            )
            progress.end(side)

    try:
        with Progress(console, total) as progress:
            async with asyncio.TaskGroup() as group:
                for side in sides:
                    group.create_task(take_turn(side))
    except ExceptionGroup as group_of_errors:
        raise group_of_errors.exceptions[0] from None
    found = [outcomes[side] for side in sides]
    summary.show(console, found)
    record.save(results, summary.as_json(arguments, suite, selection, found), console)
    return 0 if all(outcome.verdict.passed for outcome in found) else 1


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be positive and finite, not {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
