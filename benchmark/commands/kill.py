"""``python -m benchmark kill``: clients who chat while servers, or the broker, are killed."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from attrs import asdict
from rich.console import Console
from rich.table import Table

from benchmark import record
from benchmark.errors import BenchmarkError
from benchmark.kept import Kept, Results, provenance
from benchmark.kill.trial import DOWN, PROMISED, Outcome, Settings, What, run_trial
from benchmark.options import Commands, add_number, add_results
from benchmark.progress import Progress
from benchmark.tables import markdown_table, plain_table

COLUMNS = (
    *("kills", "messages", "received", "lost", "doubled", "out of order"),
    *("returns", "not recovered", "back after, s, p50 / max", "presence right after, s, at most"),
)


def block(results: Results) -> str:
    """The table of a results file in Markdown."""
    settings = results["settings"]
    return (
        f"{settings['servers']} servers on NATS with JetStream, {settings['clients']} clients in"
        f" {settings['groups']} groups with history and presence, {settings['rate']:g} messages a"
        f" second each, for {settings['seconds']:g} s. What is killed gets SIGKILL and is started"
        f" again, the broker {DOWN:g} s later; the next kill comes when presence is right on every"
        f" server, which is to be within {PROMISED:g} s.\n\n"
        f"{markdown_table(('killed', *COLUMNS), map(_row, results['trials']))}\n\n"
        f"{provenance(results)}"
    )


KEPT = Kept(
    name="kill",
    quick=("--seconds", "1", "--clients", "20", "--groups", "2", "--calm", "0.2"),
    blocks={"kill": block},
)


def add_options(commands: Commands) -> None:
    """What the command can be told."""
    parser = commands.add_parser(
        "kill",
        help="clients who chat while servers, or the broker, are killed and started again",
        description="Start servers with a NATS server of their own, and clients who chat in groups"
        " with history and presence. Kill one server after the other at random, with SIGKILL, and"
        " start it again; and in a second run the broker. Clients come back to another server, say"
        " again what they do not know to be kept, and are told what they missed. Every message of"
        " everybody is compared. The exit status is 1 when one was lost, doubled or out of order,"
        f" or presence was not right on every server within {PROMISED:g} s of each kill.",
    )
    parser.add_argument(
        "--what",
        choices=("servers", "broker", "both"),
        default="both",
        help="what is killed (default: both, one after the other)",
    )
    add_number(parser, "--seconds", float, 0, 60.0, "S", "for which there are kills, in each run")
    add_number(parser, "--servers", int, 1, 3, "N", "servers, a process each")
    add_number(parser, "--clients", int, 1, 300, "N", "clients, in one more process")
    add_number(parser, "--groups", int, 1, 10, "N", "groups that they are divided among")
    add_number(parser, "--rate", float, 0.01, 0.5, "N", "messages a second of each client")
    calm = "from the end of one kill's effects to the next, on average, seconds"
    add_number(parser, "--calm", float, 0.01, 2.0, "S", calm)
    dead = "after which the others take a server for gone, seconds"
    add_number(parser, "--dead-after", float, 0.1, 5.0, "S", dead)
    add_number(parser, "--seed", int, 0, 0, "N", "for what is drawn at random")
    add_results(parser)
    parser.set_defaults(run=run)


async def run(options: Namespace, arguments: Sequence[str], console: Console) -> None:
    """Kill, and count.

    Raises:
        BenchmarkError: Something is not as it is promised, or did not run.
    """
    settings = Settings(
        servers=options.servers,
        clients=options.clients,
        groups=min(options.groups, options.clients),
        rate=options.rate,
        seconds=options.seconds,
        calm=options.calm,
        dead_after=options.dead_after,
        seed=options.seed,
    )
    whats = list(What) if options.what == "both" else [What(options.what)]
    outcomes = []
    with Progress(Console(stderr=True), settings.seconds * len(whats)) as progress:
        for what in whats:
            progress.begin(f"killing: {what.value}")
            outcome = await run_trial(settings, what, progress.update)
            outcomes.append(outcome)
            found = ", ".join(outcome.faults) or "nothing lost, doubled or out of order"
            progress.end(settings.seconds, f"{len(outcome.kills)} kills, {found}")
    trials = [_describe(outcome) for outcome in outcomes]
    console.print(_title(settings), soft_wrap=True)
    console.print(_table(trials))
    for line in _remarks(trials):
        console.print(line, soft_wrap=True)
    record.save(
        record.target(options, "kill"),
        {
            "benchmark": "kill",
            **record.describe(arguments),
            "settings": asdict(settings),
            "trials": trials,
        },
        console,
    )
    faults = [f"{outcome.what.value}: {each}" for outcome in outcomes for each in outcome.faults]
    if faults:
        raise BenchmarkError("; ".join(faults))


def _describe(outcome: Outcome) -> dict[str, Any]:
    """One run for the results file."""
    count = asdict(outcome.count)
    away = count.pop("away")
    waits = [kill.presence for kill in outcome.kills]
    right = [wait for wait in waits if wait is not None]
    return {
        "what": outcome.what.value,
        **count,
        "back_seconds": {
            "count": len(away),
            "p50": away[len(away) // 2] if away else None,
            "max": away[-1] if away else None,
        },
        "presence_seconds": max(right) if waits and len(right) == len(waits) else None,
        "kills": [asdict(kill) for kill in outcome.kills],
        "faults": outcome.faults,
    }


def _title(settings: Settings) -> str:
    return (
        f"{settings.servers} servers, {settings.clients} clients in {settings.groups} groups,"
        f" {settings.rate:g} messages a second each; {settings.seconds:g} s of kills"
    )


def _table(trials: Sequence[dict[str, Any]]) -> Table:
    """One row per run."""
    table = plain_table(
        *("kills", "said", "lost/doubled/\nreordered", "returns", "unre-\ncovered"),
        *("back, s\np50 / max", "presence\nright, s"),
        label="killed",
    )
    for trial in trials:
        what, kills, said, _, *wrong, returns, unrecovered, back, presence = _row(trial)
        table.add_row(what, kills, said, "/".join(wrong), returns, unrecovered, back, presence)
    return table


def _remarks(trials: Sequence[dict[str, Any]]) -> list[str]:
    received = " and ".join(f"{trial['received']:,}" for trial in trials)
    return [
        f"Every message was compared for each member of its group that received it: {received}.",
        "presence: the longest from a kill until every server knows who is where again",
    ]


def _row(trial: dict[str, Any]) -> list[str]:
    back, counts = trial["back_seconds"], ("lost", "doubled", "reordered")
    return [
        trial["what"],
        f"{len(trial['kills'])}",
        f"{trial['taken']:,}",
        f"{trial['received']:,}",
        *(f"{trial[name]:,}" for name in counts),
        f"{trial['recovered'] + trial['unrecovered']:,}",
        f"{trial['unrecovered']:,}",
        f"{_seconds(back['p50'])} / {_seconds(back['max'])}",
        _seconds(trial["presence_seconds"]),
    ]


def _seconds(seconds: float | None) -> str:
    return "—" if seconds is None else f"{seconds:.2f}"
