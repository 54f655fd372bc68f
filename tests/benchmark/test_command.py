"""The command line, end to end: real servers and load clients in their own processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.__main__ import main
from benchmark.commands import build_parser, idle_memory
from benchmark.errors import BenchmarkError
from benchmark.servers import SERVERS, ServerKind, choose_peers, choose_server

SHORT = ("--seconds", "0.3", "--warmup", "0.1", "--connections", "4")


def echo(tmp_path: Path, *options: str) -> Any:
    path = tmp_path / "results.json"
    assert main(["echo", *SHORT, "--json", str(path), *options]) == 0
    (case,) = json.loads(path.read_text())["cases"]
    return case


@pytest.mark.parametrize("transport", ["tcp", "tls", "unix"])
@pytest.mark.parametrize("client", ["auto", "python"])
def test_echo_against_a_bare_protocol(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], transport: str, client: str
) -> None:
    pytest.importorskip("uvloop")
    results = echo(tmp_path, "--server", "uvloop", "--transport", transport, "--client", client)
    shown = capfd.readouterr().out
    assert "round 1 of 1, uvloop:" in shown
    assert f"{transport} echo: 4 connections, 1 in flight, 128 bytes; one round" in shown
    (run,) = results["rounds"]
    assert run["server"] == "uvloop"
    assert run["messages"] > 0
    assert run["client"] == ("python" if client == "python" else "c")


def test_echo_beside_peers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for module in ("websockets", "aiohttp"):
        pytest.importorskip(module)
    options = ("--server", "websockets", "--peers", "aiohttp", "--rounds", "2")
    results = echo(tmp_path, "--transport", "ws", *options)
    shown = capfd.readouterr().out
    assert "websockets / aiohttp: messages/s" in shown
    assert list(results["summary"]) == ["websockets", "aiohttp"]
    assert list(results["ratios"]) == ["aiohttp"]
    order = [(run["round"], run["server"]) for run in results["rounds"]]
    assert order == [(1, "websockets"), (1, "aiohttp"), (2, "aiohttp"), (2, "websockets")]


@pytest.mark.parametrize("name", [name for name, kind in SERVERS.items() if kind.name != "foreman"])
def test_every_peer_echoes_on_every_transport(
    tmp_path: Path, name: str, require: Callable[[ServerKind], None]
) -> None:
    require(SERVERS[name])
    for transport in SERVERS[name].transports:
        results = echo(tmp_path, "--server", name, "--transport", transport, "--in-flight", "4")
        assert results["summary"][name]["messages_per_second"] > 0


def test_a_missing_peer_is_skipped_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = ServerKind(name="absent", requires="absent_package", transports=("ws",))
    monkeypatch.setitem(SERVERS, "absent", absent)
    missing = "absent_package is not installed: pip install 'foreman-server[bench]'"
    peers, skipped = choose_peers("all", "ws", "foreman")
    assert absent not in peers
    assert f"skipped: {missing}" in skipped
    with pytest.raises(BenchmarkError, match=re.escape(missing)):
        choose_peers("aiohttp,absent", "ws", "foreman")


def test_a_peer_without_the_transport_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="uvloop listens on tcp tls unix, not on ws"):
        choose_server("uvloop", "ws")


def test_an_unknown_server_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["echo", "--server", "nginx", "--transport", "ws"]) == 1
    assert "there is no server 'nginx'" in capfd.readouterr().err


@pytest.mark.parametrize(
    "options",
    [["--connections", "0"], ["--seconds", "inf"], ["--transport", "x"], ["--size", "x"]],
)
def test_options_out_of_range_are_refused(
    capfd: pytest.CaptureFixture[str], options: list[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["echo", *options])
    assert refused.value.code == 2
    assert options[0] in capfd.readouterr().err


def test_what_the_readme_shows_is_understood() -> None:
    readme = Path(__file__).parents[2].joinpath("README.md").read_text()
    shown = re.findall(r"python -m benchmark ([^`\n]+)", readme)
    assert shown
    for command in shown:
        build_parser().parse_args(command.split())


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds children through /proc")
def test_an_interrupt_ends_the_children(tmp_path: Path) -> None:
    pytest.importorskip("uvloop")
    command = [
        *(sys.executable, "-m", "benchmark", "echo", "--server", "uvloop", "--transport", "tcp"),
        *("--seconds", "0.2", "--rounds", "100", "--json", str(tmp_path / "results.json")),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first round is over
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"interrupted" in errors
    assert b"Traceback" not in errors
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
    assert not (tmp_path / "results.json").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize("transport", ["ws", "unix"])
def test_idle_memory(tmp_path: Path, capfd: pytest.CaptureFixture[str], transport: str) -> None:
    path = tmp_path / "results.json"
    options = ["--connections", "200", "--transport", transport, "--json", str(path)]
    assert main(["idle-memory", *options]) == 0
    assert "KiB per connection" in capfd.readouterr().out
    results = json.loads(path.read_text())
    (found,) = results["results"]
    (bar,) = results["bars"] or [None]
    assert (bar is not None) is (transport == "ws")
    if bar is not None:
        assert bar["met"] is (found["bytes_per_connection"] <= 4096)
    memory = f"| foreman | 200 | {found['bytes_per_connection'] / 1024:.1f} |"
    assert memory in idle_memory.KEPT.blocks["idle-memory"](results)
    assert (found["server"], found["connections"]) == ("foreman", 200)
    assert found["after"] > 0


def test_idle_memory_beyond_the_descriptors_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    resource = pytest.importorskip("resource")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert main(["idle-memory", "--connections", str(limit)]) == 1
    assert f"{limit} descriptors" in capfd.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs the clock of a process")
def test_idle_cpu(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.json"
    options = ["--nodes", "3", "--connections", "6", "--seconds", "0.3", "--json", str(path)]
    assert main(["idle-cpu", *options]) == 0
    assert "3 idle nodes with 6 open connections" in capfd.readouterr().out
    found = json.loads(path.read_text())
    assert found["nodes"] == 3
    assert found["cpu"] >= 0
