"""CPU time and memory of another process."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from benchmark.usage import Bystanders, cpu_seconds, machine_cpu_seconds, resident_bytes

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")


def test_cpu_time_is_the_process_clock() -> None:
    before = time.process_time()
    seen = cpu_seconds(os.getpid())
    assert seen is not None
    assert before <= seen <= time.process_time()


def test_the_machine_has_used_what_a_process_uses() -> None:
    before, own = machine_cpu_seconds(), time.process_time()
    assert before is not None
    while time.process_time() < own + 0.2:
        pass
    after = machine_cpu_seconds()
    assert after is not None
    assert after - before > 0.1  # it counts in ticks


def test_resident_memory_grows_with_what_is_touched() -> None:
    before = resident_bytes(os.getpid())
    ballast = bytearray(b"x") * (32 << 20)
    assert resident_bytes(os.getpid()) - before > 16 << 20
    assert len(ballast) == 32 << 20


def test_a_process_that_ended_is_an_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(30)
    with pytest.raises(ProcessLookupError):
        cpu_seconds(process.pid)
    with pytest.raises(FileNotFoundError):
        resident_bytes(process.pid)


def test_who_is_named_is_no_bystander() -> None:
    burn = "import time, sys\nwhile time.process_time() < 0.4: pass\nprint(flush=True)\ninput()"
    command = [sys.executable, "-c", burn]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        everybody, others = Bystanders([]), Bystanders([process.pid])
        assert process.stdout is not None
        process.stdout.readline()
        assert everybody.share() > others.share()
        process.kill()
