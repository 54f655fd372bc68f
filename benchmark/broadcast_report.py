"""What broadcasts came to: the table, the bars, and the block of the documents."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from benchmark.bars import Bar, bars_table
from benchmark.broadcast import STRICT, Broadcasts
from benchmark.kept import Results, provenance
from benchmark.report import latency, share
from benchmark.servers import OURS
from benchmark.tables import markdown_table, plain_table

Summary = Mapping[str, Mapping[str, float]]  # the medians of every figure, by server


def ours_over(summary: Summary, peer: str) -> dict[str, float]:
    """The medians of our server over those of a peer."""
    names = ("deliveries_per_second", "p50_seconds", "p99_seconds")
    return {
        name: summary[OURS][name] / summary[peer][name] for name in names if summary[peer][name]
    }


def title(plan: Broadcasts) -> str:
    """What the table shows."""
    rounds = f"medians of {plan.rounds} rounds" if plan.rounds > 1 else "one round"
    text = (
        f"{plan.transport} broadcast: {plan.size} bytes to {plan.connections:,} connections,"
        f" {plan.outstanding} under way; {rounds} of {plan.seconds:g} s;"
        " ms from publishing to the last delivery"
    )
    if plan.strict:
        text += (
            f"\nmeanwhile {plan.strict} strict connections, each sending {plan.strict_rate:g}"
            f" messages a second; ms from when one was due to its echo"
        )
    return text


def table(summary: Summary) -> Table:
    """One row per server."""
    strict = any("strict_p99_seconds" in figures for figures in summary.values())
    columns = ["deliveries/s", "p50", "p99", "server\nCPU", "client\nCPU"]
    percents = ("p50", "p99", "p99.9") if strict else ()
    found = plain_table(*columns, *(f"strict\n{p}" for p in percents), label="server")
    for server, figures in summary.items():
        found.add_row(
            server,
            f"{figures['deliveries_per_second']:,.0f}",
            latency(figures["p50_seconds"]),
            latency(figures["p99_seconds"]),
            share(figures.get("server_cpu")),
            share(figures["client_cpu"]),
            *(latency(figures[f"strict_{percent}_seconds"]) for percent in percents),
        )
    return found


def remarks(summary: Summary) -> list[str]:
    """What is to be said under the table."""
    ours = summary[OURS]
    lines = [
        f"{OURS} / {peer}: deliveries/s {ratio['deliveries_per_second']:.2f}"
        f", p50 {ratio['p50_seconds']:.2f}, p99 {ratio['p99_seconds']:.2f}"
        for peer in summary
        if peer != OURS
        for ratio in [ours_over(summary, peer)]
    ]
    lines.append(f"{OURS}: the audience was on {ours['nodes']:g} nodes")
    lines.append("Audience in C, in a process of its own; every delivery compared.")
    return lines


def bars(plan: Broadcasts, summary: Summary) -> list[Bar]:
    """What the project has set itself, of what was measured."""
    rates = {name: figures["deliveries_per_second"] for name, figures in summary.items()}
    ours = rates.pop(OURS)
    found = []
    if rates:
        best = max(rates, key=rates.__getitem__)
        what = f"deliveries/s over {best}, the best of them"
        found.append(Bar(what=what, measured=ours / rates[best], limit=1.0))
    if plan.strict:
        what = "p99 of the strict class during broadcasts"
        p99 = summary[OURS]["strict_p99_seconds"] * 1e3
        found.append(Bar(what=what, measured=p99, limit=STRICT * 1e3, most=True, unit="ms"))
    return found


def block(results: Results) -> str:
    """The table of a results file in Markdown."""
    settings, summary = results["settings"], results["summary"]
    percents = ("p50", "p99", "p99.9") if settings["strict"] else ()
    head = ("server", "deliveries/s", "p50", "p99", *(f"strict {name}" for name in percents))
    rows = [
        (
            server,
            f"{figures['deliveries_per_second']:,.0f}",
            latency(figures["p50_seconds"]),
            latency(figures["p99_seconds"]),
            *(latency(figures[f"strict_{name}_seconds"]) for name in percents),
        )
        for server, figures in summary.items()
    ]
    what = (
        f"{settings['size']} bytes to {settings['connections']:,} connections,"
        f" {settings['outstanding']} under way, our audience on {summary[OURS]['nodes']:g} nodes."
    )
    table = markdown_table(head, rows)
    shown = bars_table(map(Bar.read, results["bars"]))
    return f"{table}\n\n{shown}\n\n{what} {provenance(results)}"
