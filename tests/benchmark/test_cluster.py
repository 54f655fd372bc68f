"""The cluster's benchmark: real servers on a real backplane, and what is made of the figures."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from benchmark import record
from benchmark.__main__ import main
from benchmark.bars import Bar
from benchmark.brokers.process import find_program
from benchmark.cluster import report
from benchmark.cluster.backplanes import BACKPLANES, Fabric
from benchmark.cluster.crossing import ALONE, BARE, OURS, Crossings, Turn
from benchmark.cluster.rows import ROWS, Ground
from benchmark.commands.cluster import KEPT
from benchmark.errors import BenchmarkError
from benchmark.load.plan import Plan
from benchmark.pages import NOT_MEASURED
from benchmark.processes import run_load, running_server
from benchmark.servers import SERVERS
from benchmark.workspace import open_workspace


def measure(directory: Path, rows: str) -> dict[str, Any]:
    path = directory / "results.json"
    options = ("--backplane", "zmq", "--only", rows, "--json", str(path))
    assert main(["cluster", "--quick", *options]) == 0
    results: dict[str, Any] = json.loads(path.read_text())
    assert list(results["rows"]) == rows.split(",")
    for name, block in KEPT.blocks.items():
        measured = name.removeprefix("cluster-") in results["rows"]
        assert ("zmq" in block(results)) is measured
        assert (NOT_MEASURED in block(results)) is not measured
    return results


def test_a_turn_in_which_nothing_crosses_is_an_error() -> None:
    plan = Crossings(
        pairs=1,
        in_flight=1,
        rate=1.0,
        size=128,
        strict=1,
        strict_rate=1.0,
        seconds=1.0,
        warmup=0.0,
    )
    assert plan.cpu(2.0, 4.0, 1.0) == {"cpu_seconds": 2.0, "broker_cpu_seconds": 0.5}
    with pytest.raises(BenchmarkError, match="no message came to the other side"):
        plan.cpu(0.0, 1.0, 1.0)


def test_messages_cross_and_are_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results = measure(tmp_path, "crossing,scaling")
    said = capfd.readouterr()
    assert "zmq: messages/s over bare: " in said.out
    assert "round 1 of 1, zmq, bare: " in said.err
    crossing, scaling = results["rows"].values()
    assert list(crossing["summary"]) == [ALONE, "zmq"]
    for sides in crossing["summary"].values():
        for figures in sides.values():
            assert figures["messages_per_second"] > 0
            assert figures["lost"] == 0
            assert figures["cpu_seconds"] > 0
            assert figures["broker_cpu_seconds"] == 0
            assert 0 < figures["p50_seconds"] <= figures["p99_seconds"] <= figures["max_seconds"]
    zmq = crossing["summary"]["zmq"][OURS]
    assert zmq["strict_open_p99_seconds"] > 0
    assert zmq["strict_closed_p99_seconds"] > 0
    found = {(each["servers"], each["to"]): each for each in scaling["counts"]}
    for to in ("identity", "group"):
        assert [found[n, to]["interested"] for n in (1, 4)] == [0, 2]
        assert [found[n, to]["sent"] for n in (1, 4)] == [1, 1]
        assert [found[n, to]["heard"] for n in (1, 4)] == [0, 1]
        assert [found[n, to]["others"] for n in (1, 4)] == [0, 0]


def test_many_are_simulated_and_a_crowd_comes_back(tmp_path: Path) -> None:
    simulation, returning = measure(tmp_path, "simulation,returning")["rows"].values()
    for each in simulation["sends"]:
        receipts = each["to"] == "identity"
        assert (each["sent"], each["heard"]) == (1 + receipts, each["interested"] + receipts)
    assert all(each["each"] > 0 for each in simulation["memory"])
    (returned,) = returning["returned"]
    assert returned["served"] == returned["clients"] == 50
    assert 0 < returned["opened"] <= returned["echoed"] <= returned["reached"]
    assert 0 < returned["grouped"] <= returned["seconds"]
    assert returned["strict_count"] > 0


def test_who_gets_what_it_sent_itself_is_found_out() -> None:
    async def run() -> None:
        with open_workspace("ws", "c") as workspace:
            async with running_server(SERVERS["foreman"], "ws", workspace, None) as echo:
                url = echo.urls[0]
                plan = Plan(url=url, twin_url=url, connections=2, library=workspace.library)
                await run_load(plan, None, lambda _seconds, _messages: None)

    with pytest.raises(BenchmarkError, match="did not send back what it was sent"):
        asyncio.run(run())


def test_rows_that_are_not_measured_anew_stay_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def measure(_ground: Ground) -> dict[str, Any]:
        return {"new": True}

    monkeypatch.setattr(record, "KEPT", tmp_path)
    monkeypatch.setitem(ROWS, "scaling", measure)
    (tmp_path / "cluster.json").write_text('{"rows": {"returning": {"new": false}, "scaling": 1}}')
    options = ["--backplane", "zmq", "--only", "scaling", "--save"]
    assert main(["cluster", *options]) == 0
    rows = json.loads((tmp_path / "cluster.json").read_text())["rows"]
    assert list(rows) == ["scaling", "returning"]
    assert rows["scaling"]["new"]
    assert rows["scaling"]["command"].endswith(" ".join(options))
    assert rows["returning"] == {"new": False}


def turn(number: int, backplane: str, side: str, rate: float, p50: float, strict: float) -> Turn:
    figures = {
        "messages_per_second": rate,
        "p50_seconds": p50,
        "p99_seconds": 3 * p50,
        "max_seconds": 1.0,
        "lost": 0.0,
        "cpu_seconds": 0.00002,
        "broker_cpu_seconds": 0.000003,
    }
    if side == OURS:
        figures["strict_open_p99_seconds"] = strict
        figures["strict_closed_p99_seconds"] = 2 * strict
    return Turn(round=number, backplane=backplane, side=side, figures=figures)


TURNS = [
    turn(1, ALONE, OURS, 900, 0.0001, 0.001),
    turn(1, "nats", OURS, 600, 0.0006, 0.004),
    turn(1, "nats", BARE, 1000, 0.0002, 0),
    turn(2, ALONE, OURS, 900, 0.0003, 0.001),
    turn(2, "nats", OURS, 200, 0.0013, 0.006),
    turn(2, "nats", BARE, 400, 0.0004, 0),
    turn(3, ALONE, OURS, 900, 0.0002, 0.001),
    turn(3, "nats", OURS, 700, 0.0008, 0.005),
    turn(3, "nats", BARE, 1000, 0.0002, 0),
]


def test_each_round_is_compared_with_itself() -> None:
    ours = report.summarize(TURNS)["nats"][OURS]
    assert ours["ratio"] == pytest.approx(0.6)  # of 0.6, 0.5 and 0.7
    assert ours["added_p50_seconds"] == pytest.approx(0.0006)  # of 0.5, 1.0 and 0.6 ms
    assert ours["messages_per_second"] == 600


def test_bars_are_what_was_asked() -> None:
    bars = report.crossing_bars(report.summarize(TURNS))
    assert [bar.met for bar in bars] == [True, True, True, True]
    added = bars[1]
    assert added.measured == pytest.approx(0.6)
    assert added.limit == pytest.approx(1.5 * 0.2 + 0.3)
    assert bars[3].measured == pytest.approx(10)


def test_the_documents_show_each_side() -> None:
    summary = report.summarize(TURNS)
    rows = report.crossing_rows(summary, {"nats": "nats-py"})
    assert [row[0] for row in rows] == [ALONE, "nats", "nats-py bare"]
    assert rows[1] == (
        *("nats", "600", "0.60", "20", "3", "0.800", "2.40", "0.600", "1.80", "5.00", "10.0"),
    )
    assert rows[2][2] == ""


def test_others_that_hear_something_are_told() -> None:
    counts = [
        {"backplane": "zmq", "others": 0.0},
        {"backplane": "nats", "others": 0.5},
        {"backplane": "zmq", "others": 0.0},
    ]
    assert [bar.met for bar in report.scaling_bars(counts)] == [True, False]
    assert all(isinstance(bar, Bar) for bar in report.scaling_bars(counts))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--backplane", "kafka"], "there is no backplane 'kafka'"),
        (["--only", "crossing,nothing"], "there is no row 'nothing'"),
    ],
)
def test_what_there_is_not_is_an_error(
    capfd: pytest.CaptureFixture[str], options: list[str], reason: str
) -> None:
    assert main(["cluster", *options]) == 1
    assert reason in capfd.readouterr().err


def test_a_missing_library_or_broker_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def run() -> AbstractContextManager[Fabric]:
        find_program("nowhere-serverd", "nowhere-server")
        raise AssertionError

    absent = evolve(BACKPLANES["nats"], modules={"absent_module": "absent"})
    monkeypatch.setitem(BACKPLANES, "nats", absent)
    monkeypatch.setitem(BACKPLANES, "amqp", evolve(BACKPLANES["amqp"], run=run))
    assert main(["cluster", "--backplane", "zmq,nats"]) == 1
    assert "absent is not installed: pip install 'absent'" in capfd.readouterr().err
    assert main(["cluster", "--backplane", "amqp"]) == 1
    assert "apt-get install nowhere-server" in capfd.readouterr().err
