"""What the command lines have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeAlias

from benchmark.errors import BenchmarkError
from benchmark.load.plan import TRANSPORTS
from benchmark.servers import OURS

# What add_subparsers returns, which has no public name.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_number(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    name: str,
    kind: Callable[[str], float],
    least: float,
    default: float | None,
    metavar: str,
    about: str,
) -> None:
    """An option that takes a number of this kind, at least so large."""

    def read(text: str) -> float:
        value = kind(text)
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be at least {least:g}, not {text}")
        return value

    read.__name__ = kind.__name__  # argparse names it when the text is no number at all
    if default is not None:
        about = f"{about} (default: {default:g})"
    parser.add_argument(name, type=read, default=default, metavar=metavar, help=about)


def add_common(parser: argparse.ArgumentParser, transport: str) -> None:
    """Transport and results file, with the transport that is taken when none is named."""
    parser.add_argument(
        "--transport",
        choices=TRANSPORTS,
        default=transport,
        help=f"URL scheme (default: {transport})",
    )
    add_results(parser)


def add_results(parser: argparse.ArgumentParser) -> None:
    """Where the results go; `benchmark.record.target` knows what is meant."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--json",
        type=Path,
        metavar="PATH",
        help="where the results go (default: a new file in ./benchmark-results, which version"
        " control ignores)",
    )
    where.add_argument(
        "--save",
        action="store_true",
        help="keep the results in benchmark/results, of which the documents are made",
    )


def add_rows(parser: argparse.ArgumentParser, rows: Iterable[str], more: str = "") -> None:
    """Which rows of the benchmark are measured; `choose_rows` reads it."""
    about = f"these rows instead of all{more}: {', '.join(rows)}"
    parser.add_argument("--only", metavar="ROW,ROW", help=about)


def choose_rows(only: str | None, rows: Collection[str]) -> list[str]:
    """Those that were asked for; all where none was.

    Raises:
        BenchmarkError: There is no such row.
    """
    if only is None:
        return list(rows)
    chosen = [name.strip() for name in only.split(",")]
    for name in chosen:
        if name not in rows:
            raise BenchmarkError(f"there is no row {name!r}, only {', '.join(rows)}")
    return chosen


def add_quick_and_check(parser: argparse.ArgumentParser, quick: str, missed: str) -> None:
    """Whether it is only to be seen that the benchmark works, and whether its figures decide.

    Args:
        quick: What ``--quick`` does.
        missed: When ``--check`` ends with 1.
    """
    about = f"{quick}: to see that it works, not for figures"
    parser.add_argument("--quick", action="store_true", help=about)
    parser.add_argument("--check", action="store_true", help=f"the exit status is 1 when {missed}")


def add_servers(parser: argparse.ArgumentParser) -> None:
    """The server under test and its peers."""
    parser.add_argument(
        "--server", default=OURS, metavar="NAME", help=f"the server under test (default: {OURS})"
    )
    parser.add_argument(
        "--peers",
        nargs="?",
        const="all",
        metavar="NAME,NAME",
        help="also measure these servers in the same way; without names, all that are installed",
    )


def add_load(
    parser: argparse.ArgumentParser, seconds: float, warmup: float, size: int | None = 128
) -> None:
    """Payload, times and client of a load."""
    add_number(parser, "--size", int, 0, size, "BYTES", "payload of a message, bytes")
    add_number(parser, "--seconds", float, 0.01, seconds, "S", "measured in each round")
    about = "load before each measurement, seconds"
    add_number(parser, "--warmup", float, 0, warmup, "S", about)
    parser.add_argument(
        "--client",
        choices=("auto", "c", "python"),
        default="auto",
        help="load client (default: auto, which is C where a compiler and what it needs are there)",
    )
