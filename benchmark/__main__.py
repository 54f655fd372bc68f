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

    def add(name: str, summary: str, description: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=summary,
            description=description,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        add_common_options(command)
        return command

    echo = add(
        "echo",
        "messages a second and round trips of an echo server",
        "Open a server and a load client, each in a process of its own and, where there are two,"
        " on a CPU of its own. The client plays ping-pong on many connections and compares every"
        " byte that comes back. With --loose, strict and loose connections share the server, and"
        " what each class was promised is compared with what it got.",
    )
    add_peer_options(echo)
    add_load_options(echo)
    add_mixed_options(echo)
    memory = add(
        "idle-memory",
        "memory of an idle connection",
        "Open connections that stay idle, and tell what the server's memory grew by for each.",
    )
    memory.set_defaults(connections=8000)
    add_peer_options(memory)
    cpu = add(
        "idle-cpu",
        "CPU time of idle nodes",
        "Open connections that stay idle on a number of nodes, and tell the CPU time they use.",
    )
    cpu.add_argument("--nodes", type=number(int, 1), default=4, metavar="N", help="nodes")
    cpu.add_argument(
        "--seconds", type=number(float, 0.1), default=10.0, metavar="S", help="how long to watch"
    )
    return parser


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """What every command can be told."""
    parser.add_argument(
        "--transport", choices=TRANSPORTS, default="ws", help="URL scheme to listen on"
    )
    parser.add_argument(
        "--connections", type=number(int, 1), default=50, metavar="N", help="connections to open"
    )
    parser.add_argument(
        "--json", type=Path, metavar="PATH", default=argparse.SUPPRESS,
        help="where the results go (default: a new file in ./benchmark-results, which version"
        " control ignores)",
    )  # fmt: skip
    parser.set_defaults(json=None)


def add_peer_options(parser: argparse.ArgumentParser) -> None:
    """Which servers to measure."""
    parser.add_argument("--server", default="foreman", help="the server under test", metavar="NAME")
    parser.add_argument(
        "--peers", nargs="?", const="all", metavar="NAME,NAME",
        help="also measure these servers in the same way; without names, all that are installed",
    )  # fmt: skip


def add_load_options(parser: argparse.ArgumentParser) -> None:
    """The load of `echo`."""
    whole, seconds = number(int, 1), number(float, 0.01)
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
        "--client", choices=("auto", "c", "python"), default="auto",
        help="load client; auto takes C where a compiler is there, and Python for TLS",
    )  # fmt: skip
    parser.set_defaults(rounds=None)


def add_mixed_options(parser: argparse.ArgumentParser) -> None:
    """Strict and loose connections together."""
    mixed = parser.add_argument_group("strict and loose connections together")
    mixed.add_argument(
        "--loose", type=number(int, 0), default=0, metavar="N",
        help="loose connections beside the strict ones, which then send at --rate",
    )  # fmt: skip
    mixed.add_argument(
        "--rate", type=number(float, 0.1), default=50.0, metavar="N",
        help="messages a second that each strict connection sends, whatever comes back",
    )  # fmt: skip
    mixed.add_argument(
        "--loose-work", choices=("compute", "sleep"), default="compute",
        help="what a loose handler does with each message",
    )  # fmt: skip
    mixed.add_argument(
        "--loose-hold", type=number(float, 0), default=0.020, metavar="S", help="for how long"
    )


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
    from benchmark.processes import raise_descriptor_limit

    raise_descriptor_limit()
    run = {
        "echo": commands.echo,
        "idle-memory": commands.idle_memory,
        "idle-cpu": commands.idle_cpu,
    }[options.command]
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
