"""What the cluster's benchmark came to: tables, bars, and the blocks of the documents.

Everything is made of what is in the results file, so that a run prints what the documents show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from rich.table import Table

from benchmark.bars import Bar, bars_table
from benchmark.cluster.crossing import ALONE, BARE, OURS, Turn
from benchmark.kept import Results, provenance
from benchmark.pages import NOT_MEASURED
from benchmark.peers.foreman_server import STRICT
from benchmark.report import disturbance, latency
from benchmark.tables import markdown_table, plain_table

THROUGHPUT = 0.6  # the least that our messages a second should be over the bare library's
TIMES, PLUS = 1.5, 0.0003  # the most that may be added to the median: so often its own, and seconds

Figures = Mapping[str, float]

# A line break is one in the terminal only.
CROSSING_HEAD = (
    *(
        "",
        "messages/s",
        "over\nbare",
        "CPU\nµs",
        "broker\nµs",
        "p50",
        "p99",
        "added\np50",
        "added\np99",
    ),
    *("strict\np99", "when\nfull"),
)
SCALING_HEAD = (
    *("backplane", "servers", "with\nit", "to the", "sent", "heard\nby each", "receipts"),
    *("others",),
)
SIMULATION_HEAD = (
    *("servers", "clients\nthere", "subscriptions\nof a server", "sent to", "servers\nwith it"),
    *("frames\nsent", "frames\nheard"),
)
MEMORY_HEAD = ("", "bytes each", "measured on", "how many", "MiB")
RETURNING_HEAD = (
    *("", "connected", "echoed", "reached", "in its\ngroup", "strict p99\nbefore", "p50\nafter"),
    *("p99\nafter", "max"),
)


def summarize(turns: Iterable[Turn]) -> dict[str, dict[str, dict[str, float]]]:
    """Medians over the rounds: by backplane, then by side.

    ``added`` is what our two servers take longer than one in the same round, and ``ratio`` our
    messages a second over the bare library's of the same round.
    """
    rounds: dict[tuple[str, str], dict[int, Figures]] = {}
    for turn in turns:
        rounds.setdefault((turn.backplane, turn.side), {})[turn.round] = turn.figures
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (backplane, side), by_round in rounds.items():
        found.setdefault(backplane, {})[side] = _medians(by_round.values())
    alone = rounds.get((ALONE, OURS), {})
    for backplane, sides in found.items():
        if backplane == ALONE:
            continue
        ours, bare = rounds[backplane, OURS], rounds[backplane, BARE]
        both = [number for number in ours if number in bare]
        sides[OURS]["ratio"] = median(
            ours[n]["messages_per_second"] / bare[n]["messages_per_second"] for n in both
        )
        for name in ("p50_seconds", "p99_seconds"):
            sides[OURS][f"added_{name}"] = median(
                ours[n][name] - alone[n][name] for n in ours if n in alone
            )
    return found


def _medians(found: Iterable[Figures]) -> dict[str, float]:
    every = list(found)
    return {name: median(figures[name] for figures in every) for name in every[0]}


def crossing_bars(summary: Mapping[str, Mapping[str, Figures]]) -> list[Bar]:
    """What the project has set itself, of messages between two servers."""
    bars = []
    for backplane, sides in summary.items():
        if backplane == ALONE:
            continue
        ours, bare = sides[OURS], sides[BARE]
        most = TIMES * bare["p50_seconds"] + PLUS
        bars += [
            Bar(
                what=f"{backplane}: messages/s over bare", measured=ours["ratio"], limit=THROUGHPUT
            ),
            Bar(
                what=f"{backplane}: added p50, at most {TIMES:g} of bare + {PLUS * 1e3:g} ms",
                measured=ours["added_p50_seconds"] * 1e3,
                limit=most * 1e3,
                most=True,
                unit="ms",
            ),
        ]
        for loop, words in (("open", "meanwhile"), ("closed", "at the most messages/s")):
            bars.append(
                Bar(
                    what=f"{backplane}: p99 of the strict class on either server, {words}",
                    measured=ours[f"strict_{loop}_p99_seconds"] * 1e3,
                    limit=STRICT * 1e3,
                    most=True,
                    unit="ms",
                )
            )
    return bars


def crossing_rows(
    summary: Mapping[str, Mapping[str, Figures]], libraries: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """The cells of the table, a row for each side."""
    rows = []
    for backplane, sides in summary.items():
        for side, figures in sides.items():
            name = backplane if side == OURS else f"{libraries[backplane]} bare"
            rows.append(
                (
                    name,
                    f"{figures['messages_per_second']:,.0f}",
                    f"{figures['ratio']:.2f}" if "ratio" in figures else "",
                    f"{figures['cpu_seconds'] * 1e6:.0f}",
                    f"{figures['broker_cpu_seconds'] * 1e6:.0f}",
                    *(latency(figures[f"{name}_seconds"]) for name in ("p50", "p99")),
                    *(_perhaps(figures, f"added_{name}_seconds") for name in ("p50", "p99")),
                    *(
                        _perhaps(figures, f"strict_{loop}_p99_seconds")
                        for loop in ("open", "closed")
                    ),
                )
            )
    return rows


def _perhaps(figures: Figures, name: str) -> str:
    return latency(figures[name]) if name in figures else ""


def scaling_rows(counts: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The cells of the table, a row for each count."""
    return [
        (
            each["backplane"],
            str(each["servers"]),
            str(each["interested"]),
            each["to"],
            *(f"{each[name]:.2f}" for name in ("sent", "heard", "receipts", "others")),
        )
        for each in counts
    ]


def scaling_bars(counts: Iterable[Mapping[str, Any]]) -> list[Bar]:
    """That nobody is bothered who has nothing to do with it."""
    most: dict[str, float] = {}
    for each in counts:
        most[each["backplane"]] = max(most.get(each["backplane"], 0.0), each["others"])
    return [
        Bar(
            what=f"{name}: frames that others hear of a message", measured=value, limit=0, most=True
        )
        for name, value in most.items()
    ]


def simulation_rows(sends: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The cells of the table, a row for each kind of message."""
    return [
        (
            f"{each['servers']:,}",
            f"{each['clients']:,}",
            f"{each['subscriptions']:,.0f}",
            "an identity" if each["to"] == "identity" else "a group",
            f"{each['interested']:,}",
            f"{each['sent']:.2f}",
            f"{each['heard']:.2f}",
        )
        for each in sends
    ]


def memory_rows(memory: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The cells of the table, a row for each thing."""
    return [
        (
            each["what"],
            f"{each['each']:,.0f}",
            f"{each['sample']:,}",
            f"{each['count']:,}",
            f"{each['bytes'] / 2**20:,.1f}",
        )
        for each in memory
    ]


def returning_rows(returned: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The cells of the table, a row for each backplane: seconds, and milliseconds for strict."""
    return [
        (
            each["backplane"],
            *(f"{each[name]:.2f} s" for name in ("opened", "echoed", "reached", "grouped")),
            *(latency(each[f"strict_{name}"]) for name in ("before", "p50", "p99", "max")),
        )
        for each in returned
    ]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table for the terminal."""
    found = plain_table(*head[1:], label=head[0])
    for row in rows:
        found.add_row(*row)
    return found


def crossing_block(results: Results) -> str:
    """The table of messages between two servers in Markdown."""
    part = results["rows"].get("crossing")
    if part is None:
        return NOT_MEASURED
    settings = part["settings"]
    what = (
        f"{settings['pairs']} clients on each side, {settings['size']} bytes; latencies with"
        f" {settings['rate']:g} messages a second of each client, messages a second with"
        f" {settings['in_flight']} of each under way, {settings['strict']} strict connections to"
        f" each server; medians of {part['rounds']} interleaved rounds of"
        f" {settings['seconds']:g} s for each; latencies in ms."
    )
    rows = crossing_rows(part["summary"], part["libraries"])
    shown = bars_table(map(Bar.read, part["bars"]))
    said = " ".join((what, provenance(part), *disturbance(part["other_cpu"])))
    return f"{_markdown(CROSSING_HEAD, rows)}\n\n{shown}\n\n{said}"


def scaling_block(results: Results) -> str:
    """The table of what many servers say in Markdown."""
    part = results["rows"].get("scaling")
    if part is None:
        return NOT_MEASURED
    rows = scaling_rows(part["counts"])
    return (
        f"{_markdown(SCALING_HEAD, rows)}\n\n"
        f"Frames for each of {part['messages']} messages. {provenance(part)}"
    )


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return markdown_table([each.replace("\n", " ") for each in head], rows)


def simulation_block(results: Results) -> str:
    """The tables of what no machine here is large enough for in Markdown."""
    part = results["rows"].get("simulation")
    if part is None:
        return NOT_MEASURED
    return (
        f"{_markdown(SIMULATION_HEAD, simulation_rows(part['sends']))}\n\n"
        f"{_markdown(MEMORY_HEAD, memory_rows(part['memory']))}\n\n"
        f"With {part['servers']:,} servers and {part['clients']:,} clients in all,"
        f" {part['clients'] // part['servers']:,} on each. {provenance(part)}"
    )


def returning_block(results: Results) -> str:
    """The table of the crowd that lost its server in Markdown."""
    part = results["rows"].get("returning")
    if part is None:
        return NOT_MEASURED
    shown = bars_table(map(Bar.read, part["bars"]))
    return (
        f"{_markdown(RETURNING_HEAD, returning_rows(part['returned']))}\n\n{shown}\n\n"
        f"{part['clients']:,} clients, {part['strict']} strict connections."
        f" {' '.join((provenance(part), *disturbance(part['other_cpu'])))}"
    )
