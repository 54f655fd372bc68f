"""``python -m benchmark outage``: a backplane that is gone, or hangs, under clients' local load."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from attrs import asdict
from rich.console import Console

from benchmark import record
from benchmark.brokers.process import BrokerMissing
from benchmark.cluster.backplanes import BACKPLANES, broker_missing, choose
from benchmark.errors import BenchmarkError
from benchmark.kept import Kept
from benchmark.options import Commands, add_number, add_quick_and_check, add_results
from benchmark.outage import report
from benchmark.outage.trial import Settings, run_trial
from benchmark.outage.victims import GROUNDS, Fault
from benchmark.progress import Progress
from benchmark.workspace import open_workspace

QUICK = {"seconds": 1.0, "warmup": 0.3, "flood": 0.5, "pairs": 2, "probe_timeout": 0.3}

KEPT = Kept(name="outage", quick=("--quick",), blocks={"outage": report.block})


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "outage",
        help="a broker that is killed or frozen: what local clients, memory and the return show",
        description="Two servers with strict clients of their own, in an open loop: echoes, and"
        " messages to an identity or a group on the same server. The broker, or for zmq the other"
        " server, is killed or frozen for a while, and started again or let go on; and once more,"
        " while one server sends a flood of what cannot arrive. Measured are the latencies before"
        " and meanwhile, what waits in the flood, the memory, and how soon messages cross again.",
    )
    parser.add_argument(
        "--backplane",
        metavar="NAME,NAME",
        help=f"these instead of all that there is what they need for: {', '.join(BACKPLANES)}",
    )
    parser.add_argument(
        "--fault",
        choices=[fault.value for fault in Fault],
        help="this one only, instead of one after the other",
    )
    add_number(parser, "--seconds", float, 0.1, 30.0, "S", "of the outage, and as long before")
    add_number(parser, "--warmup", float, 0, 2.0, "S", "load before that, seconds")
    add_number(parser, "--flood", float, 0.1, 5.0, "S", "of the flood, and the second outage")
    pairs = "clients of each kind on each server, in pairs"
    add_number(parser, "--pairs", int, 1, 5, "N", pairs)
    add_number(parser, "--rate", float, 1, 50.0, "N", "messages a second of each client")
    add_number(parser, "--size", int, 16, 128, "BYTES", "payload of a message, bytes")
    probe = "that a broker may take to answer, seconds"
    add_number(parser, "--probe-timeout", float, 0.1, 5.0, "S", probe)
    add_quick_and_check(parser, "short and small", "a bar is not met")
    add_results(parser)
    parser.set_defaults(run=run)


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Take away one thing after the other.

    Raises:
        BenchmarkError: Something could not be measured; or a bar was not met, and is to be.
    """
    if options.quick:
        vars(options).update(QUICK)
    settings = Settings(
        seconds=options.seconds,
        warmup=options.warmup,
        flood=options.flood,
        pairs=options.pairs,
        rate=options.rate,
        size=options.size,
        probe_timeout=options.probe_timeout,
    )
    faults = [fault for fault in Fault if options.fault in (None, fault.value)]
    errors = Console(stderr=True, highlight=False)
    backplanes, skipped = choose(options.backplane)
    trials: list[dict[str, Any]] = []
    total = settings.length * len(faults) * len(backplanes)
    with open_workspace("ws", "auto") as workspace, Progress(errors, total) as progress:
        for backplane in backplanes:
            with contextlib.ExitStack() as stack:
                try:
                    ground = stack.enter_context(GROUNDS[backplane.name]())
                except BrokerMissing as error:
                    if options.backplane is not None:
                        raise
                    skipped.append(broker_missing(backplane, error))
                    continue
                for fault in faults:
                    progress.begin(f"{backplane.name} {fault.value}")
                    found = await run_trial(settings, ground, fault, workspace, progress.update)
                    trials.append({"backplane": backplane.name, **found})
                    back = max(found["back_seconds"])
                    progress.end(settings.length, f"messages cross again after {back:.2f} s")
    for line in skipped:
        errors.print(line, soft_wrap=True)
    console.print(f"Taken away for {settings.seconds:g} s; latencies in ms")
    console.print(report.table(trials))
    bars = report.bars(trials)
    for bar in bars:
        console.print(str(bar), soft_wrap=True)
    record.save(
        record.target(options, "outage"),
        {
            "benchmark": "outage",
            **record.describe(arguments),
            "settings": asdict(settings),
            "skipped": skipped,
            "trials": trials,
            "bars": [bar.described() for bar in bars],
        },
        console,
    )
    missed = [str(bar) for bar in bars if bar.met is False]
    if missed and options.check:
        raise BenchmarkError("not met: " + "; ".join(missed))
