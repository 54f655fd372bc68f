"""Turns, medians, ratios and remarks from made-up runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmark import record
from benchmark.bars import Bar, bars_table
from benchmark.cases import BEST, CASES, Case
from benchmark.echo import Echo, Row, Run
from benchmark.errors import BenchmarkError
from benchmark.histogram import Histogram
from benchmark.load.plan import Result
from benchmark.report import echo_table, medians, ratios, remarks
from benchmark.servers import SERVERS


def make_run(number: int, server: str, messages: int, client_cpu: float = 0.5) -> Run:
    histogram = Histogram()
    for _ in range(100):
        histogram.record(1_000_000_000 // messages)
    result = Result(
        client="c",
        messages=messages,
        elapsed=1.0,
        client_cpu=client_cpu,
        server_cpu=0.8,
        buckets=histogram.sparse(),
        maximum=histogram.maximum,
        other_cpu=0.5 if server == "picows" else 0.01,
    )
    return Run(round=number, case="ws", server=server, result=result)


@pytest.fixture
def plan() -> Echo:
    servers = [SERVERS["foreman"], SERVERS["picows"], SERVERS["aiohttp"]]
    return Echo(
        rows=[Row(case=CASES[0], servers=servers), Row(case=CASES[1], servers=servers[:1])],
        connections=50,
        seconds=1.0,
        warmup=0.0,
        rounds=3,
    )


RUNS = [
    *(make_run(n, "foreman", m) for n, m in enumerate((100, 900, 200), 1)),
    *(make_run(n, "picows", m) for n, m in enumerate((400, 100, 500), 1)),
    *(make_run(n, "aiohttp", m, 0.99) for n, m in enumerate((50, 70, 100), 1)),
]


def test_every_round_begins_with_another_server(plan: Echo) -> None:
    turns = [(number, row.case.name, kind.name) for number, row, kind in plan.turns()]
    assert [(number, name) for number, case, name in turns if case == "ws"] == [
        *((1, name) for name in ("foreman", "picows", "aiohttp")),
        *((2, name) for name in ("picows", "aiohttp", "foreman")),
        *((3, name) for name in ("aiohttp", "foreman", "picows")),
    ]
    assert turns[3:5] == [(1, "ws-16", "foreman"), (2, "ws", "picows")]  # rounds go over all rows
    assert len(turns) == plan.turns_count


def test_ratios_are_those_of_the_medians() -> None:
    summary = medians(RUNS)
    assert {name: f["messages_per_second"] for name, f in summary.items()} == {
        "foreman": 200,
        "picows": 400,
        "aiohttp": 70,
    }
    found = ratios("foreman", summary)
    assert list(found) == ["picows", "aiohttp"]
    assert found["picows"]["messages_per_second"] == pytest.approx(0.5)
    assert found["picows"]["p50_seconds"] == pytest.approx(2.0, rel=1 / 64)
    assert found["aiohttp"]["messages_per_second"] == pytest.approx(200 / 70)


def test_remarks_name_the_ratio_and_a_client_in_the_way() -> None:
    lines = remarks("foreman", medians(RUNS), RUNS)
    assert lines[0].startswith("foreman / picows: messages/s 0.50, p50 2.0")
    assert "the bottleneck for aiohttp:" in lines[-2]
    assert "Other processes took up to 0.5 CPUs" in lines[-1]


def test_the_table_has_a_row_per_server() -> None:
    console = Console(width=80, record=True, quiet=False)
    with console.capture() as shown:
        console.print(echo_table(medians(RUNS)))
    rows = [line.split() for line in shown.get().splitlines() if line.strip()]
    assert [row[:2] for row in rows if row[0] in SERVERS] == [
        ["foreman", "200"],
        ["picows", "400"],
        ["aiohttp", "70"],
    ]


def test_results_keep_out_of_version_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = record.default_path("echo")
    record.write(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}
    assert (record.RESULTS / ".gitignore").read_text() == "*\n"


def test_results_that_cannot_be_written_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match="cannot be written"):
        record.write(tmp_path / "file" / "results.json", {})


def test_the_description_tells_machine_versions_and_command() -> None:
    description = record.describe(["echo", "--url", "a b"])
    assert description["command"] == "python -m benchmark echo --url 'a b'"
    assert {"machine", "versions", "time"} <= set(description)


def test_bars_are_computed_from_the_rates() -> None:
    rates = {"foreman": 90.0, "picows": 100.0, "aiohttp": 120.0, "uvicorn": 10.0}
    bars = {bar.what.partition(" over ")[2]: bar for bar in CASES[0].bars("foreman", rates)}
    assert {name: bar.met for name, bar in bars.items()} == {
        "picows": True,
        "aiohttp": False,
        "websockets": None,
        "uvicorn": True,
    }
    assert bars["picows"].measured == pytest.approx(0.9)
    assert str(bars["picows"]).endswith("picows: 0.90 (at least 0.85: met)")
    assert str(bars["websockets"]).endswith("websockets: — (at least 2.50: not measured)")
    (best,) = Case(name="c", transport="ws", asked={BEST: 0.8}).bars("foreman", rates)
    assert (best.measured, best.met) == (0.75, False)
    assert "over aiohttp, the best of them" in best.what
    named = Case(name="c", transport="ws", asked={BEST: 0.8}, best_of=["picows"])
    assert named.bars("foreman", rates)[0].met
    least = Case(name="c", transport="ws", handshakes=True, least=91.0)
    assert str(least.bars("foreman", rates)[0]) == (
        "WebSocket, handshakes: 90.0 /s (at least 91.0 /s: not met)"
    )
    assert [Bar.read(bar.described()) for bar in bars.values()] == list(bars.values())


def test_most_is_the_other_way_round() -> None:
    bar = Bar(what="memory", measured=4.5, limit=4.0, most=True, unit="KiB")
    assert not bar.met
    assert str(bar) == "memory: 4.50 KiB (at most 4.00 KiB: not met)"
    assert (
        bars_table([bar]).splitlines()[-1] == "| memory | 4.50 KiB | at most 4.00 KiB | not met |"
    )
