"""What orders mean, how compiled peers are made, and what our server tells of what happened."""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from benchmark.errors import BenchmarkError
from benchmark.peers import compiler as compilers
from benchmark.peers.compiler import ERLANG, GO, Compiler
from benchmark.peers.events import KEPT, TEXT, EventLog
from benchmark.peers.program import positive
from benchmark.peers.work import Work, declared_latency, make_garbage
from benchmark.servers import SERVERS, ServerKind, choose_peers, choose_server
from foreman import Foreman, Worker
from foreman.events import Moved, Placed, Refused, Spawned

Require = Callable[[ServerKind], None]


@pytest.mark.parametrize(
    ("message", "latency"),
    [
        (b"L0.010", 0.010),
        (b"L1", 1.0),
        (b"L0.5 and more", 0.5),
        (b"L", None),
        (b"L ", None),
        (b"L0.5and", None),
        (b"L-1", None),
        (b"L1e3", None),
        (b"L\n1", None),
        (b"L1\n", None),
        (b"!L1", None),
        (b"", None),
    ],
)
def test_a_declared_latency_is_read(message: bytes, latency: float | None) -> None:
    assert declared_latency(message) == latency


def test_computing_is_measured_by_the_clock_of_the_thread() -> None:
    before = time.thread_time()
    Work(computed=0.02, slept=0.0).carry_out()
    assert time.thread_time() - before >= 0.02


def test_sleeping_is_measured_by_the_clock_on_the_wall() -> None:
    before = time.monotonic()
    Work(computed=0.0, slept=0.02).carry_out()
    assert time.monotonic() - before >= 0.02


def test_garbage_is_left_to_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        make_garbage()
        assert gc.collect() >= 300
    finally:
        gc.enable()


# ---------------------------------------------------------------- compilers


@pytest.fixture(params=["go", "erlang"])
def compiler(request: pytest.FixtureRequest, require: Require) -> Compiler:
    kind = SERVERS[request.param]
    require(kind)
    assert kind.compiler is not None
    return kind.compiler


def test_a_program_is_compiled_once(compiler: Compiler, tmp_path: Path) -> None:
    program = compiler.compile(tmp_path)
    assert program.parent == tmp_path
    made = program.stat()
    again = compiler.compile(tmp_path)
    assert (again, again.stat().st_mtime_ns) == (program, made.st_mtime_ns)


def test_a_program_is_compiled_without_a_home(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "GOCACHE"):
        monkeypatch.delenv(name, raising=False)
    assert compiler.compile(tmp_path).exists()


def test_what_a_compiler_says_is_passed_on(compiler: Compiler, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=rf"(?s){compiler.command[0]} .* failed:\n.*nothing"):
        evolve(compiler, source=f"nothing{Path(compiler.source).suffix}").compile(tmp_path)


def test_a_compiler_that_takes_too_long_is_ended(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilers, "COMPILE_TIMEOUT", 0.01)
    with pytest.raises(BenchmarkError, match=r"took 0\.01 s"):
        compiler.compile(tmp_path)


def test_a_peer_without_its_compiler_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = {
        "go": f"go is not installed: apt-get install {GO.package}",
        "erlang": f"erlc is not installed: apt-get install {ERLANG.package}",
    }
    peers, skipped = choose_peers("all", "tcp", "foreman")
    assert {kind.name for kind in peers} == {"uvloop", "one-loop", "thread-pool"}
    assert list(skipped) == [f"skipped: {reason}" for reason in missing.values()]
    for name, reason in missing.items():
        with pytest.raises(BenchmarkError, match=reason):
            choose_server(name, "tcp")


# ---------------------------------------------------------------- events


class Verbose(Worker):
    def __repr__(self) -> str:
        return "a worker " * TEXT


def test_events_are_told_with_their_times() -> None:
    log = EventLog()
    with Foreman(on_event=log.note) as foreman:
        one = foreman.spawn("a test wants it")
        other = foreman.spawn("and another")
        worker = Verbose()
        log.note(Placed(worker, one, "not told"))
        log.note(Moved(worker, one, other, 0.001, "told"))
        log.note(Refused(worker, 0.01, "x" * 10 * TEXT))
    events = json.loads(json.dumps(log.events()))
    spawned, second, moved, refused = events[:4]
    assert (spawned["kind"], spawned["node"], spawned["reason"]) == (
        "spawned",
        one.name,
        "a test wants it",
    )
    assert second["node"] == other.name
    assert (moved["old"], moved["new"], moved["pause"]) == (one.name, other.name, 0.001)
    assert len(moved["worker"]) == len(refused["reason"]) == TEXT
    assert {event["kind"] for event in events[4:]} == {"retired"}
    times = [event["at"] for event in events]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= time.monotonic() - log.started


def test_only_the_last_events_are_kept() -> None:
    log = EventLog()
    with Foreman() as foreman:
        node = foreman.spawn()
        for number in range(KEPT + 5):
            log.note(Spawned(node, str(number)))
    found: list[dict[str, Any]] = log.events()
    assert len(found) == KEPT
    assert (found[0]["reason"], found[-1]["reason"]) == ("5", str(KEPT + 4))


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("--threads", "x", "must be a whole number of at least 1, not 'x'"),
        ("--threads", "0", "must be a whole number of at least 1, not '0'"),
        ("--threads", "1.5", "must be a whole number of at least 1, not '1.5'"),
        ("--hold", "x", "must be 0 to 3600 s, not 'x'"),
        ("--hold", "-1", "must be 0 to 3600 s, not '-1'"),
        ("--hold", "nan", "must be 0 to 3600 s, not 'nan'"),
    ],
)
def test_a_number_that_is_none_is_told_as_such(
    capsys: pytest.CaptureFixture[str], option: str, text: str, said: str
) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=positive)
    Work.add_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([f"{option}={text}"])
    assert f"argument {option}: {said}" in capsys.readouterr().err
