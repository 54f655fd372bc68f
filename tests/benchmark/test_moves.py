"""Moves under load: real servers and load clients, and what their runs come to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.__main__ import main
from benchmark.commands.moves import KEPT
from benchmark.histogram import Histogram
from benchmark.load.plan import Result
from benchmark.moves import MOVING, Kind, Turn, judge, order_of
from benchmark.servers import ServerKind

SHORT = ("--connections", "6", "--seconds", "0.3", "--warmup", "0.1", "--rounds", "1")


@pytest.mark.parametrize("transport", ["tcp", "tls", "ws", "wss", "unix", "ws+unix"])
def test_connections_move_under_load(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], transport: str
) -> None:
    path = tmp_path / "results.json"
    options = ("--transport", transport, "--in-flight", "4", "--moves", "20", "--json", str(path))
    assert main(["moves", *SHORT, *options]) == 0
    assert "none lost, doubled or out of order" in capfd.readouterr().out
    results = json.loads(path.read_text())
    assert results["summary"]["done"] >= 20
    assert 0 < results["summary"]["pause_seconds"]["p99"] <= 30
    assert f"{results['summary']['done']:,} moves, " in KEPT.blocks["moves"](results)
    for turn in results["rounds"]:
        assert turn["messages"] > 0
        assert bool(turn["done"]) is (turn["kind"] != "unmoved")


def test_rounds_go_on_until_the_moves_were_made(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    pace = ("--rate", "50", "--at-once", "1", "--moves", "80", "--json", str(path))
    assert main(["moves", *SHORT, "--transport", "tcp", *pace]) == 0
    results = json.loads(path.read_text())
    assert results["summary"]["done"] >= 80, "of at most forty a round"
    assert results["rounds"][-1]["round"] > 1


def test_a_server_that_mixes_messages_up_is_caught(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Faulty(ServerKind):
        @property
        def program(self) -> str:
            return "tests.benchmark.doubling_server"

    faulty = Faulty(name=MOVING.name, requires=None, transports=MOVING.transports)
    monkeypatch.setattr("benchmark.moves.MOVING", faulty)
    path = tmp_path / "results.json"
    options = ("--transport", "tcp", "--in-flight", "4", "--json", str(path))
    assert main(["moves", *SHORT, *options]) == 1
    said = capfd.readouterr()
    assert "the server did not send back what it was sent" in said.err
    assert "none lost" not in said.out
    assert not path.exists()


@pytest.mark.parametrize(
    "options",
    [["--nodes", "1"], ["--size", "8"], ["--rate", "0"], ["--rate", "fast"], ["--moves", "0"]],
)
def test_nonsense_is_refused(capfd: pytest.CaptureFixture[str], options: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["moves", *options])
    assert refused.value.code == 2
    assert options[0] in capfd.readouterr().err


def test_help_tells_the_options() -> None:
    command = [sys.executable, "-m", "benchmark", "moves", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    for option in ("--connections", "--nodes", "--moves", "--at-once", "--rate", "--json"):
        assert option in shown


def turn(number: int, kind: Kind, messages: int, pauses: dict[int, int]) -> Turn:
    histogram = Histogram.from_sparse(list(pauses.items()), max(pauses, default=0))
    result = Result(
        client="c",
        messages=messages,
        elapsed=2.0,
        client_cpu=0.5,
        server_cpu=None,
        buckets=[],
        maximum=0,
    )
    moved = kind is not Kind.UNMOVED
    return Turn(
        round=number,
        kind=kind,
        result=result,
        done=histogram.total,
        given_up=int(moved),
        seconds=1.0 if moved else 0.0,
        pauses=histogram,
    )


def test_a_verdict_compares_the_runs_of_each_round() -> None:
    verdict = judge(
        [
            turn(1, Kind.UNMOVED, 1000, {}),
            turn(1, Kind.MOVING, 900, {1000: 90, 2000: 10}),
            turn(1, Kind.PACED, 50, {500: 40}),
            turn(2, Kind.MOVING, 80, {1000: 300}),
            turn(2, Kind.UNMOVED, 100, {}),
            turn(2, Kind.PACED, 50, {700: 5}),
            turn(3, Kind.UNMOVED, 5000, {}),
            turn(3, Kind.MOVING, 1000, {1000: 200}),
            turn(3, Kind.PACED, 50, {500: 5}),
        ]
    )
    assert verdict.throughput_ratio == pytest.approx(0.8)  # of 0.9, 0.8 and 0.2
    assert verdict.done == 650
    assert verdict.given_up == 6
    assert verdict.moves_per_second == pytest.approx(200)
    assert verdict.messages == 2130
    assert verdict.pauses_saturated.maximum == 2000
    assert verdict.pauses_saturated.percentile(50) == pytest.approx(1000, rel=1 / 100)
    assert verdict.pauses.maximum == 700
    assert verdict.pauses.total == 50


def test_either_run_comes_first_in_turn() -> None:
    one, other = Kind.UNMOVED, Kind.MOVING
    assert [order_of(number)[:2] for number in (1, 2, 3)] == [
        (one, other),
        (other, one),
        (one, other),
    ]
