"""From runs to figures: medians, ratios, the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from rich.table import Table

from benchmark.cases import Case
from benchmark.echo import Echo, Run
from benchmark.idle import IdleMemory
from benchmark.load.plan import Result
from benchmark.tables import plain_table

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
BOTTLENECK = 0.9  # the CPU share from which a process counts as busy all the time

QUIET = 0.1  # CPUs that other processes may use without being said to disturb

Figures = Mapping[str, float]


def figures_of(result: Result) -> dict[str, float]:
    """What one run comes to: messages a second, latencies in seconds, shares of a CPU."""
    histogram = result.histogram
    figures = {"messages_per_second": result.messages / result.elapsed}
    for percent in PERCENTILES:
        figures[f"p{percent:g}_seconds"] = histogram.percentile(percent) / 1e9
    figures["max_seconds"] = histogram.maximum / 1e9
    figures["client_cpu"] = result.client_cpu
    if result.server_cpu is not None:
        figures["server_cpu"] = result.server_cpu
    if result.other_cpu is not None:
        figures["other_cpu"] = result.other_cpu
    return figures


def described(result: Result) -> dict[str, object]:
    """One run for the results file: its figures and where they come from."""
    return {
        "client": result.client,
        "messages": result.messages,
        "elapsed_seconds": result.elapsed,
        **figures_of(result),
    }


def medians(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """The median of every figure over the rounds of a case, by server."""
    by_server: dict[str, list[dict[str, float]]] = {}
    for run in runs:
        by_server.setdefault(run.server, []).append(figures_of(run.result))
    return {
        server: {name: median(f[name] for f in rounds) for name in rounds[0]}
        for server, rounds in by_server.items()
    }


def ratios(server: str, summary: Mapping[str, Figures]) -> dict[str, dict[str, float]]:
    """The medians of a server over those of each other one, by peer; empty where it has none."""
    ours = summary.get(server, {})
    return {
        peer: {
            name: ours[name] / theirs[name]
            for name in ("messages_per_second", "p50_seconds", "p99_seconds")
            if theirs[name]
        }
        for peer, theirs in summary.items()
        if peer != server and ours
    }


def latency(seconds: float) -> str:
    """A duration as a person reads it, in milliseconds."""
    milliseconds = seconds * 1000
    decimals = 3 - sum(milliseconds >= limit for limit in (1, 10, 100))
    return f"{milliseconds:.{decimals}f}"


def share(value: float | None) -> str:
    """A share of one CPU in percent."""
    return "-" if value is None else f"{value:.0%}"


def echo_title(echo: Echo, case: Case) -> str:
    """What the table of a case shows, in one line."""
    rounds = f"medians of {echo.rounds} rounds" if echo.rounds > 1 else "one round"
    return (
        f"{case.transport} echo: {echo.connections} connections, {case.in_flight} in flight,"
        f" {case.size} bytes; {rounds} of {echo.seconds:g} s; round trips in ms"
    )


def echo_table(summary: Mapping[str, Figures]) -> Table:
    """One row per server."""
    percentiles = ("p50", "p90", "p99", "p99.9", "max")
    table = plain_table("msg/s", *percentiles, "server\nCPU", "client\nCPU", label="server")
    for server, figures in summary.items():
        table.add_row(
            server,
            f"{figures['messages_per_second']:,.0f}",
            *(latency(figures[f"p{percent:g}_seconds"]) for percent in PERCENTILES),
            latency(figures["max_seconds"]),
            share(figures.get("server_cpu")),
            share(figures["client_cpu"]),
        )
    return table


def remarks(server: str, summary: Mapping[str, Figures], runs: Sequence[Run]) -> list[str]:
    """What is to be said under a case's table: ratios, the client, whether it was in the way."""
    lines = [
        f"{server} / {peer}: messages/s {ratio['messages_per_second']:.2f}"
        f", p50 {ratio['p50_seconds']:.2f}, p99 {ratio['p99_seconds']:.2f}"
        for peer, ratio in ratios(server, summary).items()
    ]
    language = "C" if runs[0].result.client == "c" else "Python"
    lines.append(f"Load client in {language}, in a process of its own; every reply compared.")
    slowed = bottlenecks(summary)
    if slowed:
        lines.append(
            f"The load client was the bottleneck for {', '.join(slowed)}:"
            " the server may be faster than its figure."
        )
    return lines + disturbance(max(f.get("other_cpu", 0.0) for f in summary.values()))


def disturbance(other: float) -> list[str]:
    """What is to be said when other processes took so many CPUs, at the most; nothing of few."""
    if other <= QUIET:
        return []
    return [f"Other processes took up to {other:.1f} CPUs meanwhile: figures may be far too low."]


def bottlenecks(summary: Mapping[str, Figures]) -> list[str]:
    """The servers for which the load client was busy all the time, and they were not."""
    return [
        name
        for name, figures in summary.items()
        if figures["client_cpu"] >= BOTTLENECK and figures.get("server_cpu", 0.0) < BOTTLENECK
    ]


def idle_table(found: Sequence[IdleMemory]) -> Table:
    """One row per server."""
    columns = ("connections", "MiB before", "MiB after", "KiB per connection")
    table = plain_table(*columns, label="server")
    for idle in found:
        table.add_row(
            idle.server,
            f"{idle.connections:,}",
            *(f"{memory / 2**20:.1f}" for memory in (idle.before, idle.after)),
            f"{idle.per_connection / 1024:.2f}",
        )
    return table
