"""What the rows of the echo benchmark came to: for the results file, as text, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmark.bars import Bar, bars_table
from benchmark.echo import Echo, Row, Run
from benchmark.kept import Results, provenance
from benchmark.picture import require, save
from benchmark.report import bottlenecks, described, disturbance, medians, ratios
from benchmark.servers import SERVERS
from benchmark.tables import markdown_table, plain_table

NONE = "—"
_RATE = "messages_per_second"


def described_row(row: Row, runs: Sequence[Run], server: str) -> dict[str, Any]:
    """One row for the results file, with all its rounds."""
    mine = [run for run in runs if run.case == row.case.name]
    found = medians(mine)
    summary = {kind.name: found[kind.name] for kind in row.servers if kind.name in found}
    rates = {name: figures[_RATE] for name, figures in summary.items()}
    case = row.case
    return {
        "name": case.name,
        "title": case.title,
        "transport": case.transport,
        "in_flight": case.in_flight,
        "size": case.size,
        "deflate": case.deflate,
        "handshakes": case.handshakes,
        "client": mine[0].result.client if mine else None,
        "negotiated": {
            run.server: run.result.negotiated for run in mine if run.result.negotiated is not None
        },
        "missing": list(row.missing),
        "summary": summary,
        "ratios": ratios(server, summary),
        "bottlenecks": bottlenecks(summary),
        "bars": [bar.described() for bar in case.bars(server, rates)],
        "rounds": [
            {"round": run.round, "server": run.server, **described(run.result)} for run in mine
        ],
    }


def title(echo: Echo) -> str:
    """What the table of all rows shows, in one line."""
    return (
        f"messages, or handshakes, a second: {echo.connections} connections; medians of"
        f" {echo.rounds} rounds of {echo.seconds:g} s"
    )


def matrix(cases: Sequence[Mapping[str, Any]]) -> Table:
    """One row per case, one column per server; variants of servers are in the remarks."""
    servers = _columns(cases)
    table = plain_table(*servers, label="")
    for case in cases:
        table.add_row(case["name"], *_rates(case, servers))
    return table


def matrix_remarks(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is to be said under it: variants, compression, the clients."""
    lines = []
    for case in cases:
        for name, figures in case["summary"].items():
            if _is_variant(name):
                lines.append(f"{case['title']}: {name} {figures[_RATE]:,.0f}")
        for name, answer in case["negotiated"].items():
            lines.append(f"{name} answered the offer of compression with {answer!r}")
        if case["client"] == "python":
            lines.append(f"{case['title']}: with the load client in Python, which may be slower")
        lines += [
            f"{case['title']}: the load client was the bottleneck for {name}"
            for name in case["bottlenecks"]
        ]
    others = [
        figures.get("other_cpu", 0.0) for case in cases for figures in case["summary"].values()
    ]
    return lines + disturbance(max(others, default=0.0))


def bars_of(cases: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """All bars, in order."""
    return [Bar.read(bar) for case in cases for bar in case["bars"]]


def block(results: Results) -> str:
    """Messages a second of every server in every row, in Markdown."""
    cases, settings = results["cases"], results["settings"]
    servers = _columns(cases)
    rows = [(case["title"], *_rates(case, servers)) for case in cases]
    table = markdown_table(("messages or handshakes a second", *servers), rows)
    about = (
        f"Medians of {settings['rounds']} interleaved rounds of {settings['seconds']:g} s,"
        f" {settings['connections']} connections, server and load client on a core each."
    )
    return f"{table}\n\n{about} {provenance(results)}"


def bars_block(results: Results) -> str:
    """The bars, in Markdown."""
    return bars_table(bars_of(results["cases"]))


def remarks_block(results: Results) -> str:
    """What is to be said beside the table, in Markdown."""
    return "\n".join(f"* {line}" for line in matrix_remarks(results["cases"])) or "Nothing."


def draw(path: Path, results: Results) -> None:
    """Draw each row as a group of bars, in messages a second over those of the server under test.

    Raises:
        BenchmarkError: The file cannot be written, or what draws it is not installed.
    """
    require(path)
    from matplotlib.figure import Figure

    cases = [case for case in results["cases"] if case["ratios"]]
    figure = Figure(figsize=(9.0, 0.9 * len(cases) + 1.2), layout="constrained")
    panel = figure.subplots()
    servers = [
        name for name in _columns(cases)[1:] if any(name in case["ratios"] for case in cases)
    ]
    height = 0.8 / max(1, len(servers))
    for number, server in enumerate(servers):
        found = [
            (row, 1 / case["ratios"][server][_RATE])
            for row, case in enumerate(cases)
            if server in case["ratios"]
        ]
        at = [row + (number + 0.5) * height - 0.4 for row, _ in found]
        panel.barh(at, [share for _, share in found], height, label=server)
    panel.axvline(1.0, color="black", linewidth=1, label=results["settings"]["server"])
    panel.set_yticks(range(len(cases)), [case["title"] for case in cases])
    panel.invert_yaxis()
    panel.set_xlabel(f"messages a second, {results['settings']['server']} = 1")
    panel.grid(visible=True, axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=5)
    save(figure, path, results)


def _is_variant(name: str) -> bool:
    kind = SERVERS.get(name)
    return kind is not None and kind.variant_of is not None


def _columns(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    found = dict.fromkeys(name for case in cases for name in case["summary"])
    return [name for name in found if not _is_variant(name)] or list(found)


def _rates(case: Mapping[str, Any], servers: Sequence[str]) -> list[str]:
    summary = case["summary"]
    return [f"{summary[name][_RATE]:,.0f}" if name in summary else NONE for name in servers]
