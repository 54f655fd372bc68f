"""Broadcasts: real servers and a real audience, and servers that get them wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.__main__ import main
from benchmark.broadcast import BROADCASTERS
from benchmark.broadcast_report import block
from benchmark.load import audience
from benchmark.report import latency
from benchmark.servers import ServerKind

SHORT = ("--connections", "40", "--seconds", "0.3", "--warmup", "0.1", "--rounds", "1")


@pytest.mark.parametrize("transport", ["ws", "ws+unix"])
def test_an_audience_on_several_nodes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], transport: str
) -> None:
    path = tmp_path / "results.json"
    options = ("--transport", transport, "--nodes", "2", "--strict", "2", "--json", str(path))
    assert main(["broadcast", *SHORT, *options]) == 0
    assert "every delivery compared" in capfd.readouterr().out
    results = json.loads(path.read_text())
    (bar,) = results["bars"]
    assert bar["what"] == "p99 of the strict class during broadcasts"
    ours = results["summary"]["foreman"]
    assert bar["measured"] == 1e3 * ours["strict_p99_seconds"]
    assert f"| {latency(ours['strict_p99_seconds'])} |" in block(results)
    assert ours["nodes"] == 2
    assert ours["deliveries_per_second"] > 0
    assert 0 < ours["p50_seconds"] <= ours["p99_seconds"] <= ours["max_seconds"]
    assert 0 < ours["strict_p50_seconds"] <= ours["strict_max_seconds"]


@pytest.mark.parametrize("outstanding", ["1", "3"])
def test_peers_get_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], outstanding: str
) -> None:
    path = tmp_path / "results.json"
    options = ("--peers", "--outstanding", outstanding, "--strict", "0", "--json", str(path))
    assert main(["broadcast", *SHORT, *options]) == 0
    results = json.loads(path.read_text())
    assert list(results["summary"]) == list(BROADCASTERS)
    for figures in results["summary"].values():
        assert figures["broadcasts_per_second"] > 0
        assert "strict_p99_seconds" not in figures
    assert set(results["ratios"]) == set(BROADCASTERS) - {"foreman"}
    assert "foreman / picows: deliveries/s" in capfd.readouterr().out
    (bar,) = results["bars"]
    rates = [f["deliveries_per_second"] for f in results["summary"].values()]
    assert bar["measured"] == rates[0] / max(rates[1:])
    assert "| picows | " in block(results)
    assert "strict p50" not in block(results)


@pytest.mark.parametrize(
    ("how", "outstanding", "said"),
    [
        ("loses", "1", "got no reply for 0.5 s"),
        ("loses", "4", "the server did not send back what it was sent"),
        # What is doubled is one too many, or in the next one's place: as it comes.
        ("doubles", "1", "got more than the [0-9]+ replies|did not send back what it was sent"),
        ("doubles", "4", "got more than the [0-9]+ replies|did not send back what it was sent"),
        ("tears", "1", "the server did not send back what it was sent"),
    ],
)
def test_a_server_that_gets_it_wrong_is_caught(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    how: str,
    outstanding: str,
    said: str,
) -> None:
    class Faulty(ServerKind):
        @property
        def program(self) -> str:
            return f"tests.benchmark.broadcaster_that_{how}"

    monkeypatch.setitem(
        BROADCASTERS, "foreman", Faulty(name="foreman", requires=None, transports=("ws",))
    )
    monkeypatch.setattr("benchmark.broadcast.STALL", 0.5)
    path = tmp_path / "results.json"
    options = ("--outstanding", outstanding, "--strict", "1", "--json", str(path))
    assert main(["broadcast", *SHORT, *options]) == 1
    assert re.search(said, capfd.readouterr().err)
    assert not path.exists()


@pytest.mark.parametrize(
    "options", [["--size", "7"], ["--outstanding", "0"], ["--nodes", "0"], ["--connections", "x"]]
)
def test_nonsense_is_refused(capfd: pytest.CaptureFixture[str], options: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["broadcast", *options])
    assert refused.value.code == 2
    assert options[0] in capfd.readouterr().err


@pytest.mark.parametrize(
    ("transport", "peer", "said"),
    [("ws", "nobody", "no server 'nobody'"), ("ws+unix", "picows", "picows listens on ws")],
)
def test_a_peer_that_cannot_be_run(
    capfd: pytest.CaptureFixture[str], transport: str, peer: str, said: str
) -> None:
    assert main(["broadcast", "--transport", transport, "--peers", peer]) == 1
    assert said in capfd.readouterr().err


def test_what_it_cannot_be_measured_over(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["broadcast", "--transport", "tcp"]) == 1
    assert "foreman listens on ws ws+unix, not on tcp" in capfd.readouterr().err


def test_a_plan_that_is_none_is_answered() -> None:
    done = subprocess.run(
        [sys.executable, "-m", audience.__name__],
        input='{"url": "ws://127.0.0.1:1", "connections": 0, "library": "x"}\n',
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "connections must be more than 0" in json.loads(done.stdout)["error"]
