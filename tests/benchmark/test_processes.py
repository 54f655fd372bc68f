"""Children that fail, stay silent, or are left alone."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.errors import BenchmarkError
from benchmark.load.plan import Plan
from benchmark.processes import child, pinned, run_load, running_server
from benchmark.servers import SERVERS, ServerKind
from benchmark.workspace import open_workspace


def test_a_child_that_says_nothing_is_an_error() -> None:
    async def wait_for_it() -> int:
        async with child("the quiet one", "benchmark.load", (), None) as quiet:
            with pytest.raises(BenchmarkError, match=r"the quiet one said nothing for 0\.05 s"):
                await quiet.read(0.05)
        assert quiet.process.returncode is not None
        return quiet.process.returncode

    assert asyncio.run(wait_for_it()) == -signal.SIGTERM


def test_a_server_that_does_not_start_is_an_error_with_its_last_words() -> None:
    kind = ServerKind(name="absent", requires="json", transports=("tcp",))

    async def start_it() -> None:
        with open_workspace("tcp", "python") as workspace:
            async with running_server(kind, "tcp", workspace, None):
                pytest.fail("it started")

    with pytest.raises(BenchmarkError, match=r"(?s)server absent ended.*No module named"):
        asyncio.run(start_it())


def test_what_the_load_process_says_went_wrong_is_passed_on() -> None:
    plan = Plan(url="unix:///nowhere/at/all", connections=1)
    with pytest.raises(BenchmarkError, match="connection 0 to unix:///nowhere/at/all failed"):
        asyncio.run(run_load(plan, None, lambda *_: None))


@pytest.mark.parametrize("name", [n for n, k in SERVERS.items() if k.requires != "netserver"])
def test_servers_tell_their_statistics(name: str, require: Callable[[ServerKind], None]) -> None:
    kind = SERVERS[name]
    require(kind)

    async def ask() -> dict[str, object]:
        transport = kind.transports[0]
        with open_workspace(transport, "python") as workspace:
            async with running_server(kind, transport, workspace, None) as server:
                return await server.statistics()

    assert asyncio.run(ask()) == {}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="pins processes to CPUs")
def test_a_process_that_cannot_be_pinned_is_an_error_and_one_that_has_ended_is_none() -> None:
    cpu = min(os.sched_getaffinity(0))
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with process, pinned(process.pid, cpu):
        assert os.sched_getaffinity(process.pid) == {cpu}
        process.communicate(b"\n")
    me = os.geteuid()
    if me != 0 and Path("/proc/1").stat().st_uid == me:
        pytest.skip("every process here is ours")
    try:
        if me == 0:
            os.seteuid(65534)  # nobody
        refused = pytest.raises(BenchmarkError, match="process 1 cannot be pinned to a CPU")
        with refused, pinned(1, cpu):
            pytest.fail("it was pinned")
    finally:
        os.seteuid(me)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="watches processes by descriptor")
def test_a_server_ends_when_nobody_is_there() -> None:
    pytest.importorskip("uvloop")
    command = [sys.executable, "-m", SERVERS["uvloop"].program, "--transport", "tcp"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=Path.cwd()) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert json.loads(server.stdout.readline())["urls"][0].startswith("tcp://127.0.0.1:")
        descriptor = os.pidfd_open(server.pid)
        server.stdin.close()
        ended, _, _ = select.select([descriptor], [], [], 10)
        os.close(descriptor)
        if not ended:
            server.kill()
        assert ended
