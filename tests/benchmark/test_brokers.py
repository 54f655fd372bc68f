"""Brokers are started, frozen, killed and started again, on one port."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.brokers.process import (
    BrokerMissing,
    BrokerProcess,
    find_program,
    free_port,
    listens,
)
from benchmark.errors import BenchmarkError

SERVER = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"


def _broker(directory: Path, script: str, port: int) -> BrokerProcess:
    return BrokerProcess(
        name="a broker",
        command=[sys.executable, "-c", script, str(port)],
        log=directory / "log",
        ready=lambda: listens(port),
        patience=20,
    )


def test_one_that_was_killed_starts_again_on_its_port(tmp_path: Path) -> None:
    port = free_port()
    broker = _broker(tmp_path, SERVER + "while True: s.accept()", port)
    broker.start()
    first = broker.pid
    broker.kill()
    assert not listens(port)
    broker.start()
    assert listens(port)
    assert broker.pid != first
    broker.stop()
    assert not listens(port)


def test_a_frozen_one_is_stopped_too(tmp_path: Path) -> None:
    port = free_port()
    broker = _broker(tmp_path, SERVER + "while True: s.accept()", port)
    broker.start()
    broker.freeze()
    broker.thaw()
    broker.freeze()
    broker.stop()
    broker.stop()
    assert not listens(port)


def test_one_that_ends_at_once_says_why(tmp_path: Path) -> None:
    broker = _broker(tmp_path, "raise SystemExit('no disk')", free_port())
    with pytest.raises(BenchmarkError, match=r"a broker ended:\s+no disk"):
        broker.start()


def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    port = free_port()
    script = f"""
import os, signal
from pathlib import Path
from tests.benchmark.test_brokers import SERVER, _broker
broker = _broker(Path({str(tmp_path)!r}), SERVER + "while True: s.accept()", {port})
broker.start()
print(broker.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, timeout=30)
    assert done.returncode == -signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):  # it may have ended already
        process = os.pidfd_open(int(done.stdout))
        assert select.select([process], [], [], 20) == ([process], [], [])
        os.close(process)
    assert not listens(port)


def test_a_program_that_is_missing_is_named_with_its_package() -> None:
    with pytest.raises(BrokerMissing, match="apt-get install nowhere-server"):
        find_program("nowhere-serverd", "nowhere-server")
