"""The command line: what each command can be told."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmark.load.plan import TRANSPORTS
from benchmark.servers import OURS


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
        " compares every byte that comes back. With --loose, strict and loose connections share"
        " the server, and what each class was promised is compared with what it got.",
    )
    _add_common(echo, connections=50)
    _add_servers(echo)
    _add_load(echo)
    _add_mixed(echo)
    memory = commands.add_parser(
        "idle-memory",
        help="memory of an idle connection",
        description="Open connections that stay idle, and tell what the server's memory grew by"
        " for each.",
    )
    _add_common(memory, connections=8000)
    _add_servers(memory)
    cpu = commands.add_parser(
        "idle-cpu",
        help="CPU time of idle nodes",
        description="Open connections that stay idle on a number of nodes, and tell the CPU time"
        " that the server uses.",
    )
    _add_common(cpu, connections=50)
    _add_number(cpu, "--nodes", int, 1, 4, "N", "nodes")
    _add_number(cpu, "--seconds", float, 0.1, 10.0, "S", "how long to watch, seconds")
    return parser


def _add_number(
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


def _add_common(parser: argparse.ArgumentParser, connections: int) -> None:
    parser.add_argument(
        "--transport",
        choices=TRANSPORTS,
        default="ws",
        help="URL scheme (default: ws)",
    )
    _add_number(parser, "--connections", int, 1, connections, "N", "connections to open")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="PATH",
        help="where the results go (default: a new file in ./benchmark-results, which version"
        " control ignores)",
    )


def _add_servers(parser: argparse.ArgumentParser) -> None:
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


def _add_load(parser: argparse.ArgumentParser) -> None:
    _add_number(parser, "--in-flight", int, 1, 1, "N", "messages each connection keeps under way")
    _add_number(parser, "--size", int, 0, 128, "BYTES", "payload of a message, bytes")
    _add_number(parser, "--seconds", float, 0.01, 5.0, "S", "measured in each round")
    _add_number(parser, "--warmup", float, 0, 1.0, "S", "load before each measurement, seconds")
    rounds = "turns of each server, in changing order (default: 1 alone, 3 with peers)"
    _add_number(parser, "--rounds", int, 1, None, "N", rounds)
    parser.add_argument(
        "--client",
        choices=("auto", "c", "python"),
        default="auto",
        help="load client (default: auto, which is C where a compiler is there, Python for TLS)",
    )


def _add_mixed(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("strict and loose connections together")
    loose = "loose connections beside the strict ones, which then send at --rate"
    _add_number(group, "--loose", int, 0, 0, "N", loose)
    rate = "messages a second that each strict connection sends, whatever comes back"
    _add_number(group, "--rate", float, 0.1, 50.0, "N", rate)
    group.add_argument(
        "--loose-work",
        choices=("compute", "sleep"),
        default="compute",
        help="what a loose handler does with each message (default: compute)",
    )
    _add_number(group, "--loose-hold", float, 0, 0.020, "S", "for how long, seconds")
