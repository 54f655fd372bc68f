"""``python -m benchmark``: the command line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmark.errors import BenchmarkError
from benchmark.load.client import LoadError
from benchmark.load.plan import TRANSPORTS

INTERRUPTED = 130  # what a shell reports for a command ended by SIGINT


def number(kind: Callable[[str], float], least: float) -> Callable[[str], float]:
    """An argparse type: a number of this kind, at least so large."""

    def read(text: str) -> float:
        value = kind(text)
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be at least {least:g}, not {text}")
        return value

    read.__name__ = f"{kind.__name__} value"
    return read


def build_parser() -> argparse.ArgumentParser:
    """The options of every command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark",
        description="Measure the server, alone or beside others, on this machine.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    echo = commands.add_parser(
        "echo",
        help="messages a second and round trips of an echo server",
        description="Open a server and a load client, each in a process of its own and, where"
        " there are two, on a CPU of its own. The client plays ping-pong on many connections and"
        " compares every byte that comes back.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_load_options(echo)
    return parser


def add_load_options(parser: argparse.ArgumentParser) -> None:
    """What `echo` can be told."""
    whole, seconds = number(int, 1), number(float, 0.01)
    parser.add_argument(
        "--transport", choices=TRANSPORTS, default="ws", help="URL scheme to listen on"
    )
    parser.add_argument("--connections", type=whole, default=50, help="connections", metavar="N")
    parser.add_argument(
        "--in-flight", type=whole, default=1, metavar="N",
        help="messages each connection keeps under way",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=number(int, 0), default=128, help="payload, bytes", metavar="BYTES"
    )
    parser.add_argument(
        "--seconds", type=seconds, default=5.0, help="measured in each round", metavar="S"
    )
    parser.add_argument(
        "--warmup", type=number(float, 0), default=1.0, metavar="S",
        help="load before each measurement, seconds",
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=whole, metavar="N", default=argparse.SUPPRESS,
        help="turns of each server, in changing order (default: 1 alone, 3 with peers)",
    )  # fmt: skip
    parser.add_argument(
        "--peers", nargs="?", const="all", metavar="NAME,NAME",
        help="also run these servers under the same load; without names, all that are installed",
    )  # fmt: skip
    parser.add_argument("--server", default="foreman", help="the server under test", metavar="NAME")
    parser.add_argument(
        "--client", choices=("auto", "c", "python"), default="auto",
        help="load client; auto takes C where a compiler is there, and Python for TLS",
    )  # fmt: skip
    parser.add_argument(
        "--json", type=Path, metavar="PATH", default=argparse.SUPPRESS,
        help="where the results go (default: a new file in ./benchmark-results, which version"
        " control ignores)",
    )  # fmt: skip
    parser.set_defaults(rounds=None, json=None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0, or 1 with a message on standard error.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = build_parser().parse_args(arguments)
    if find_spec("rich") is None:
        print("rich is not installed: pip install 'foreman-server[bench]'", file=sys.stderr)
        return 1
    from rich.console import Console

    from benchmark import commands

    run = {"echo": commands.echo}[options.command]
    try:
        asyncio.run(run(options, arguments, Console(highlight=False)))
    except (BenchmarkError, LoadError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmark: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
