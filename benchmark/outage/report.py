"""What outages came to: tables, bars, and the block of the documents, made of the results file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmark.bars import Bar, bars_table
from benchmark.kept import Results, provenance
from benchmark.report import latency
from benchmark.tables import markdown_table, plain_table

RATIO = 1.1  # the most that local messages' p99 may be over that before
BACK = 2.0  # seconds after its return in which messages have to cross again
MEMORY = 2.0  # times the limit: what waits, and what Python needs to keep it
MIB = 1024 * 1024

# A line break is one in the terminal only.
HEAD = (
    *("", "p99\nbefore", "p99\nduring", "ratio"),
    *("waiting\nMiB", "memory\nMiB", "noticed\ns", "dropped", "back\ns"),
)


def ratio(trial: Mapping[str, Any]) -> float:
    """The p99 of local messages meanwhile, over that before."""
    found: float = trial["during"]["all"]["p99_seconds"] / trial["before"]["all"]["p99_seconds"]
    return found


def bars(trials: Iterable[Mapping[str, Any]]) -> list[Bar]:
    """What the project has set itself."""
    found = []
    for trial in trials:
        which = f"{trial['backplane']} {trial['fault']}"
        flood = trial["flood"]
        limit = flood["limit"] / MIB
        found += [
            Bar(
                what=f"{which}: p99 of local messages, over before",
                measured=ratio(trial),
                limit=RATIO,
                most=True,
            ),
            Bar(
                what=f"{which}: waiting in a flood",
                measured=flood["waiting"] / MIB,
                limit=limit,
                most=True,
                unit="MiB",
            ),
            Bar(
                what=f"{which}: memory in a flood",
                measured=flood["memory_bytes"] / MIB,
                limit=MEMORY * limit,
                most=True,
                unit="MiB",
            ),
            Bar(
                what=f"{which}: messages cross again, both ways, after",
                measured=max(trial["back_seconds"]),
                limit=BACK,
                most=True,
                unit="s",
            ),
        ]
    return found


def rows(trials: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The cells of the table, a row for each outage."""
    return [
        (
            f"{trial['backplane']} {trial['fault']}",
            *(latency(trial[when]["all"]["p99_seconds"]) for when in ("before", "during")),
            f"{ratio(trial):.2f}",
            f"{trial['flood']['waiting'] / MIB:.1f}",
            f"{trial['flood']['memory_bytes'] / MIB:.1f}",
            _noticed(trial["servers"]),
            f"{sum(each['cluster']['dropped'] for each in trial['servers']):,}",
            f"{max(trial['back_seconds']):.2f}",
        )
        for trial in trials
    ]


def _noticed(servers: Iterable[Mapping[str, Any]]) -> str:
    """After how long the last server was told that its link is down."""
    firsts = [
        next((each["at"] for each in server["events"] if each["kind"] == "BackplaneDown"), None)
        for server in servers
    ]
    told = [first for first in firsts if first is not None]
    return f"{max(told):.2f}" if told else ""


def table(trials: Sequence[Mapping[str, Any]]) -> Table:
    """A table for the terminal."""
    found = plain_table(*HEAD[1:], label=HEAD[0])
    for row in rows(trials):
        found.add_row(*row)
    return found


def block(results: Results) -> str:
    """The table and the bars in Markdown."""
    settings, trials = results["settings"], results["trials"]
    count = 2 * settings["pairs"]
    what = (
        f"{count} connections of each kind to a server, {settings['rate']:g} messages a second of"
        f" {settings['size']} bytes each, {settings['seconds']:g} s before and"
        f" {settings['seconds']:g} s meanwhile; a flood of {settings['flood']:g} s;"
        " latencies in ms."
    )
    shown = markdown_table([each.replace("\n", " ") for each in HEAD], rows(trials))
    return f"{shown}\n\n{bars_table(bars(trials))}\n\n{what} {provenance(results)}"
