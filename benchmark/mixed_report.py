"""What the mixed scenario came to, as text and for the results file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from benchmark.kept import Results, provenance
from benchmark.mixed import SLOW, STRICT, Mixed
from benchmark.mixed_run import Outcome
from benchmark.report import QUIET, disturbance, latency
from benchmark.tables import markdown_table, plain_table
from benchmark.timeline import KEPT

_DOES = {"compute": "computes", "sleep": "sleeps", "both": "computes and sleeps"}


def title(mixed: Mixed) -> str:
    """What the table shows, in a few lines."""
    rate = mixed.slow_load / mixed.hold
    lines = [
        f"{mixed.transport}, {mixed.seconds:g} s each; latencies in ms, from when a message was due"
        " to when its echo was back",
        f"{mixed.strict} strict connections, each sending {mixed.strict_rate:g} messages a second",
    ]
    if mixed.slow:
        does = f"{_DOES[mixed.work]} {mixed.hold * 1000:g} ms"
        lines.append(
            f"{mixed.slow} slow connections, whose handler {does} for each message: together"
            f" {rate:.3g} a second, {mixed.slow_load:g} of its time"
        )
    if mixed.slow and mixed.alike:
        lines.append("the slow ones declare what the strict ones do; only what they do tells them")
    if mixed.lower_after is not None:
        lines.append(
            f"one more connection, strict in what it does, lowers what it declares from"
            f" {SLOW * 1000:g} to {STRICT * 1000:g} ms after {mixed.lower_after:g} s"
        )
    if mixed.idle:
        lines.append(f"{mixed.idle} more connections, idle")
    if mixed.garbage:
        lines.append("each strict message makes cyclic garbage in our server")
    return "\n".join(lines)


def table(outcomes: Sequence[Outcome]) -> Table:
    """A section for each server, with a row for each class: what it was promised and got."""
    found = plain_table(label="server")
    found.add_column("class", no_wrap=True)
    for column in ("declared", "p50", "p99", "p99.9", "max", "missed"):
        found.add_column(column, justify="right", no_wrap=True)
    found.add_column("promise", no_wrap=True)
    for outcome in outcomes:
        server = outcome.server
        for name, figures in outcome.figures():
            found.add_row(
                server,
                name,
                latency(figures.declared),
                *(latency(figures.percentile(percent)) for percent in (50, 99, 99.9, 100)),
                f"{figures.missed:,}",
                "kept" if figures.kept else "[bold red]broken[/]",
            )
            server = ""
        found.add_section()
    return found


def remarks(outcomes: Sequence[Outcome]) -> list[str]:
    """What is to be said under the table: the nodes, what never came, and how late the load was."""
    lines = [line for outcome in outcomes for line in (*_nodes(outcome), *_unanswered(outcome))]
    lines.append(f"kept: {KEPT:.0%} of the messages took no longer than declared.")
    late = ", ".join(
        f"{outcome.server} {latency(found.percentile(99))} ({latency(found.maximum)})"
        for outcome in outcomes
        for found in [outcome.lateness]
    )
    attendance = outcomes[0].attendance
    language = "C" if attendance.client == "c" else "Python"
    precedence = "in real time" if attendance.precedence else "without precedence"
    lines.append(
        f"Load client in {language}, in a process of its own {precedence}, nothing pinned to a"
        f" CPU; every reply compared. It sent late by p99 (max) ms: {late}."
    )
    busy = [
        f"{outcome.disturbance:.1f} during {outcome.server}"
        for outcome in outcomes
        if outcome.disturbance > QUIET
    ]
    if busy:
        lines.append(
            f"Other processes took CPUs meanwhile ({', '.join(busy)}):"
            " the servers may be better than their figures."
        )
    return lines


def _nodes(outcome: Outcome) -> list[str]:
    if not outcome.statistics:
        return []
    nodes = outcome.statistics["nodes"]
    holding = "; ".join(
        f"{node['workers']} workers, the strictest {node['required_latency'] * 1000:g} ms"
        for node in nodes
        if node["workers"]
    )
    happened = Counter(
        event["kind"] for at, event in outcome.events("spawned", "moved", "retired") if at >= 0
    )
    counts = ", ".join(f"{happened[kind]} {kind}" for kind in ("spawned", "moved", "retired"))
    plural = "s" * (len(nodes) != 1)
    return [f"{outcome.server}: {len(nodes)} node{plural} at the end ({holding}); {counts}"]


def _unanswered(outcome: Outcome) -> list[str]:
    lines = []
    for name, timeline in outcome.timelines.items():
        ages = [message.latency for message in timeline.messages if not message.answered]
        if ages:
            lines.append(
                f"{outcome.server}: {len(ages):,} {name} messages were unanswered at the end, the"
                f" oldest for {max(ages) / 1e9:.1f} s; they count with their age"
            )
    return lines


def described(outcome: Outcome) -> dict[str, object]:
    """One server for the results file."""
    attendance, late = outcome.attendance, outcome.lateness
    return {
        "server": outcome.server,
        "classes": {name: figures.described() for name, figures in outcome.figures()},
        "load": {
            "client": attendance.client,
            "precedence": attendance.precedence,
            "late_p99_seconds": late.percentile(99),
            "late_max_seconds": late.maximum,
            "client_cpu": attendance.client_cpu,
            "server_cpu": attendance.server_cpu,
            "other_cpu": attendance.other_cpu,
        },
        "nodes": outcome.statistics.get("nodes"),
        "events": [
            {**event, "at": round(at, 4)}
            for at, event in outcome.events("spawned", "moved", "retired", "stuck", "refused")
        ],
        "timeline": {
            name: [
                {
                    "at": at,
                    "messages": figures.count,
                    "p50_seconds": figures.percentile(50),
                    "p99_seconds": figures.percentile(99),
                    "max_seconds": figures.maximum,
                    "missed": figures.missed,
                }
                for at, figures in timeline.bins(outcome.mixed.declares(name))
            ]
            for name, timeline in outcome.timelines.items()
        },
    }


def block(results: Results) -> str:
    """The table of a results file in Markdown."""
    rows = []
    for outcome in results["outcomes"]:
        server = outcome["server"]
        for name, figures in outcome["classes"].items():
            columns = ("declared", "p50", "p99", "p99.9", "max")
            latencies = [latency(figures[f"{column}_seconds"]) for column in columns]
            kept = "kept" if figures["kept"] else "**broken**"
            rows.append((server, name, *latencies, f"{figures['missed']:,}", kept))
            server = ""
    head = ("server", "class", "declared", "p50", "p99", "p99.9", "max", "missed", "promise")
    others = [outcome["load"]["other_cpu"] or 0.0 for outcome in results["outcomes"]]
    about = " ".join([provenance(results), *disturbance(max(others))])
    return f"{markdown_table(head, rows, words=2)}\n\n{about}"
