"""``python -m benchmark echo``: messages a second and round trips, beside peers or alone."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from rich.console import Console

from benchmark import record
from benchmark.cases import CASES, Case
from benchmark.echo import Echo, Row, run_turn
from benchmark.echo_report import (
    bars_block,
    bars_of,
    block,
    described_row,
    draw,
    matrix,
    matrix_remarks,
    remarks_block,
    title,
)
from benchmark.errors import BenchmarkError
from benchmark.kept import Kept
from benchmark.load.plan import TRANSPORTS
from benchmark.options import Commands, add_load, add_number, add_results, add_servers
from benchmark.progress import Progress
from benchmark.report import echo_table, echo_title, remarks
from benchmark.servers import OURS, SERVERS, ServerKind
from benchmark.workspace import TLS, Workspace, open_workspace

KEPT = Kept(
    name="echo",
    arguments=("--peers", "all"),
    quick=("--seconds", "0.2", "--warmup", "0.1", "--rounds", "1", "--connections", "10"),
    blocks={"echo": block, "echo-bars": bars_block, "echo-remarks": remarks_block},
    pictures={"echo.svg": draw},
)


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "echo",
        help="messages a second and round trips of an echo server",
        description="Open a server and a load client, each in a process of its own and, where"
        " there are two, on a CPU of its own. The client plays ping-pong on many connections and"
        " compares every byte that comes back. Without --transport, --in-flight, --size,"
        f" --deflate or --handshakes, all of these in turn: {', '.join(c.name for c in CASES)}.",
    )
    parser.add_argument("--cases", metavar="NAME,NAME", help="these only (default: all, see above)")
    parser.add_argument("--transport", choices=TRANSPORTS, help="URL scheme (default: ws)")
    in_flight = "messages each connection keeps under way (default: 1)"
    add_number(parser, "--in-flight", int, 1, None, "N", in_flight)
    parser.add_argument(
        "--deflate", action="store_true", help="JSON-like text, compressed by permessage-deflate"
    )
    parser.add_argument(
        "--handshakes", action="store_true", help="open and close connections, without messages"
    )
    add_number(parser, "--connections", int, 1, 50, "N", "connections to open")
    add_servers(parser)
    add_load(parser, seconds=3.0, warmup=0.5, size=None)
    rounds = "turns of each server, in changing order (default: 1 alone, 3 with peers)"
    add_number(parser, "--rounds", int, 1, None, "N", rounds)
    add_results(parser)
    parser.set_defaults(run=run)


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Put the server under test and its peers under the same loads.

    Raises:
        BenchmarkError: A server or the load failed.
    """
    cases, by_name = _cases(options)
    secured = next((case.transport for case in cases if case.transport in TLS), None)
    with open_workspace(secured or cases[0].transport, options.client) as workspace:
        rows = [_row(case, options, workspace, strict=not by_name) for case in cases]
        for line in dict.fromkeys(line for row in rows for line in row.missing):
            console.print(line, soft_wrap=True)
        plan = Echo(
            rows=[row for row in rows if row.servers],
            connections=options.connections,
            seconds=options.seconds,
            warmup=options.warmup,
            rounds=options.rounds or (3 if options.peers else 1),
        )
        runs = []
        length = plan.warmup + plan.seconds
        with Progress(console, length * plan.turns_count) as progress:
            for number, row, kind in plan.turns():
                which = f"{row.case.name}, " if by_name else ""
                progress.begin(f"round {number} of {plan.rounds}, {which}{kind.name}")
                found = await run_turn(plan, number, row.case, kind, workspace, progress.update)
                runs.append(found)
                rate = found.result.messages / found.result.elapsed
                what = "handshakes" if row.case.handshakes else "messages"
                progress.end(length, f"{rate:,.0f} {what}/s")
    described = [described_row(row, runs, options.server) for row in rows]
    if by_name:
        console.print(title(plan), soft_wrap=True)
        console.print(matrix(described))
        for line in matrix_remarks(described):
            console.print(line, soft_wrap=True)
    else:
        summary = described[0]["summary"]
        console.print(echo_title(plan, cases[0]), soft_wrap=True)
        console.print(echo_table(summary))
        for line in remarks(options.server, summary, runs):
            console.print(line, soft_wrap=True)
    for bar in bars_of(described):
        console.print(str(bar), soft_wrap=True)
    record.save(
        record.target(options, "echo", "" if by_name else cases[0].transport),
        {
            "benchmark": "echo",
            **record.describe(arguments),
            "settings": {
                "server": options.server,
                "connections": plan.connections,
                "seconds": plan.seconds,
                "warmup": plan.warmup,
                "rounds": plan.rounds,
            },
            "cases": described,
        },
        console,
    )


def _cases(options: Namespace) -> tuple[list[Case], bool]:
    """What to measure, and whether these are cases with names."""
    custom = (options.transport, options.in_flight, options.size)
    if any(value is not None for value in custom) or options.deflate or options.handshakes:
        if options.cases is not None:
            raise BenchmarkError("--cases have all their options themselves")
        case = Case(
            name="custom",
            transport=options.transport or "ws",
            in_flight=options.in_flight or 1,
            size=(1024 if options.deflate else 128) if options.size is None else options.size,
            deflate=options.deflate,
            handshakes=options.handshakes,
        )
        if case.deflate and not (case.transport.startswith("ws") and case.size):
            raise BenchmarkError("--deflate needs a WebSocket transport, and payload")
        if case.handshakes and case.transport not in ("ws", "wss"):
            raise BenchmarkError("--handshakes needs ws or wss")
        return [case], False
    by_name = {case.name: case for case in CASES}
    names = list(by_name) if options.cases is None else options.cases.split(",")
    for name in names:
        if name not in by_name:
            raise BenchmarkError(f"there is no case {name!r}, only {', '.join(by_name)}")
    return [by_name[name] for name in names], True


def _row(case: Case, options: Namespace, workspace: Workspace, *, strict: bool) -> Row:
    """A case with those who can be measured by it.

    Args:
        case: The load.
        options: The command line.
        workspace: Whose load client is to be used.
        strict: Whether it is an error that one who was asked for cannot do it.
    """
    if case.handshakes and workspace.library_for(case.transport) is None:
        obstacle = f"{case.title}: only the load client in C shakes hands over and over"
        if strict:
            raise BenchmarkError(obstacle)
        return Row(case=case, servers=[], missing=[obstacle])
    found, missing = _choose(case, options.server, options.peers, strict=strict)
    return Row(case=case, servers=found, missing=missing)


def _choose(
    case: Case, server: str, peers: str | None, *, strict: bool
) -> tuple[list[ServerKind], list[str]]:
    """Who takes part in a case, the server under test first, and why anybody is left out."""
    names = [server]
    if peers == "all":
        # In a case with a name those of the mixed scenario are no peers: they are no libraries.
        names += [
            kind.name
            for kind in SERVERS.values()
            if kind.variant_of is None and kind.name != OURS and (strict or not kind.works)
        ]
        names += case.peers
    elif peers is not None:
        names += [name.strip() for name in peers.split(",")]
    found, missing = [], []
    for name in dict.fromkeys(names):
        kind = SERVERS.get(name)
        if kind is None:
            raise BenchmarkError(f"there is no server {name!r}, only {', '.join(SERVERS)}")
        obstacle = kind.obstacle(case.transport, deflate=case.deflate)
        if obstacle is None:
            found.append(kind)
        elif strict and (peers != "all" or name == server):
            raise BenchmarkError(obstacle)
        elif case.transport in kind.transports:  # otherwise nobody expects it
            missing.append(f"skipped: {obstacle}")
    return found, missing
