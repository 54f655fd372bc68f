"""``python -m benchmark mixed``: a strict and a slow class of connections on one server."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from attrs import asdict
from rich.console import Console

from benchmark import picture, record
from benchmark.errors import BenchmarkError
from benchmark.kept import Kept
from benchmark.mixed import Mixed
from benchmark.mixed_report import block, described, remarks, table, title
from benchmark.mixed_run import run_server, undisturbed
from benchmark.options import Commands, add_common, add_load, add_number
from benchmark.progress import Progress
from benchmark.servers import OURS, SERVERS, ServerKind, choose_server
from benchmark.workspace import open_workspace

KEPT = Kept(
    name="mixed",
    arguments=("--tries", "3"),
    quick=("--seconds", "1", "--warmup", "0.2", "--tries", "1"),
    blocks={"mixed": block},
    pictures={"mixed.svg": picture.draw_mixed},
)


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "mixed",
        help="what a strict and a slow class of connections declared and got, server by server",
        description="Open a server with two classes of connections: strict ones, which want an"
        " echo within 10 ms, and slow ones, which declare 1 s and whose every message has its"
        " handler work. All of them send by a fixed timetable whatever comes back, and a latency"
        " counts from when its message was due. The same load meets the servers one after the"
        " other: this one, one event loop, a shared thread pool, Go, Erlang/OTP.",
    )
    add_common(parser, "tcp")
    add_number(parser, "--strict", int, 1, 20, "N", "strict connections")
    rate = "messages a second that each strict connection sends"
    add_number(parser, "--strict-rate", float, 0.1, 50.0, "N", rate)
    add_number(parser, "--slow", int, 0, 4, "N", "slow connections")
    parser.add_argument(
        "--work",
        choices=("compute", "sleep", "both"),
        default="compute",
        help="what a slow handler does with each message (default: compute)",
    )
    add_number(parser, "--hold", float, 0.0001, 0.020, "S", "for how long, seconds")
    load = "what the slow ones ask for together, as a share of one core, or of one thread's time"
    add_number(parser, "--slow-load", float, 0.01, 0.8, "SHARE", load)
    parser.add_argument(
        "--alike", action="store_true", help="have the slow ones declare 10 ms like everybody"
    )
    lower = "have one more connection lower what it declares from 1 s to 10 ms after so long"
    add_number(parser, "--lower-after", float, 0, None, "S", lower)
    add_number(parser, "--idle", int, 0, 0, "N", "strict connections that never say anything")
    parser.add_argument(
        "--garbage", action="store_true", help="have each strict message make cyclic garbage"
    )
    add_load(parser, seconds=10.0, warmup=1.0)
    tries = "turns of each server at most, until no other process disturbs it; the quietest counts"
    add_number(parser, "--tries", int, 1, 1, "N", tries)
    add_number(parser, "--seed", int, 0, 1, "N", "of the timetable")
    parser.add_argument(
        "--peers",
        metavar="NAME,NAME",
        help="the servers beside this one (default: all that are installed; none: '')",
    )
    add_number(parser, "--threads", int, 1, None, "N", "threads of the thread pool")
    add_number(parser, "--processors", int, 1, None, "N", "processors of Go and of Erlang/OTP")
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="where the picture goes, .svg, .png or .pdf (default: an .svg beside the results)",
    )
    parser.set_defaults(run=run)


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Put the servers under strict and slow load together, one after the other.

    Raises:
        BenchmarkError: A server or the load failed, or the picture cannot be drawn.
    """
    path = record.target(options, "mixed", options.transport)
    drawing = options.picture or path.with_suffix(".svg")
    obstacle = picture.obstacle(drawing)
    if obstacle and options.picture:
        raise BenchmarkError(obstacle)
    mixed = plan(options)
    servers, left_out = choose_servers(options.peers, options.transport)
    for line in left_out:
        console.print(f"left out: {line}", soft_wrap=True)
    outcomes = []
    with (
        open_workspace(mixed.transport, options.client) as workspace,
        Progress(console, mixed.listening * len(servers)) as progress,
    ):
        for kind in servers:
            progress.begin(kind.name)
            further = program_options(kind, options)
            turn = partial(run_server, mixed, kind, further, workspace, progress.update)
            outcome = await undisturbed(turn, options.tries)
            outcomes.append(outcome)
            missed = sum(figures.missed for _, figures in outcome.figures())
            progress.end(mixed.listening, f"{missed:,} messages later than declared")
    console.print(title(mixed), soft_wrap=True)
    console.print(table(outcomes))
    for line in remarks(outcomes):
        console.print(line, soft_wrap=True)
    results = {
        "benchmark": "mixed",
        **record.describe(arguments),
        "settings": asdict(mixed),
        "outcomes": [described(outcome) for outcome in outcomes],
    }
    record.save(path, results, console)
    if options.save and not options.picture:
        return  # the report draws it
    if obstacle:
        console.print(f"No picture: {obstacle}", soft_wrap=True)
        return
    picture.draw_mixed(drawing, results)
    console.print(f"Picture: {drawing}", soft_wrap=True)


def plan(options: Namespace) -> Mixed:
    """The scenario that the options ask for.

    Raises:
        BenchmarkError: They contradict each other.
    """
    lower_after = options.lower_after
    if lower_after is not None and lower_after + 1 >= options.warmup + options.seconds:
        raise BenchmarkError("--lower-after leaves less than a second until the end")
    return Mixed(
        transport=options.transport,
        strict=options.strict,
        strict_rate=options.strict_rate,
        slow=options.slow,
        work=options.work,
        hold=options.hold,
        slow_load=options.slow_load,
        alike=options.alike,
        lower_after=lower_after,
        idle=options.idle,
        garbage=options.garbage,
        size=options.size,
        seconds=options.seconds,
        warmup=options.warmup,
        seed=options.seed,
    )


def choose_servers(names: str | None, transport: str) -> tuple[list[ServerKind], list[str]]:
    """Ours and its peers.

    Args:
        names: With commas between them; empty for no peers, None for all that can be run here.
        transport: The URL scheme that they must listen on.

    Returns:
        The servers, ours first, and, where all were asked for, why any of them is left out.

    Raises:
        BenchmarkError: A peer asked for by name cannot be run here, or knows no slow handlers.
    """
    able = [kind for kind in SERVERS.values() if kind.works and kind.name != OURS]
    ours = choose_server(OURS, transport)
    if names is None:
        obstacles = {kind.name: kind.obstacle(transport) for kind in able}
        found = [kind for kind in able if obstacles[kind.name] is None]
        return [ours, *found], [reason for reason in obstacles.values() if reason is not None]
    peers = []
    for name in dict.fromkeys(name.strip() for name in names.split(",") if name.strip()):
        if name not in [kind.name for kind in able]:
            choices = ", ".join(kind.name for kind in able)
            raise BenchmarkError(f"{name!r} is none of the peers of this scenario: {choices}")
        peers.append(choose_server(name, transport))
    return [ours, *peers], []


def program_options(kind: ServerKind, options: Namespace) -> tuple[str, ...]:
    """What the command line asks of one server's program."""
    if kind.name == "thread-pool" and options.threads is not None:
        return ("--threads", str(options.threads))
    if kind.compiler is not None and options.processors is not None:
        return ("--processors", str(options.processors))
    return ()
