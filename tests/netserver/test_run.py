"""`Server.run` in a process of its own, with real signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PROGRAM = """
import asyncio, logging, sys, time
from netserver import Connection, Server, ServerConfig

class Echo(Connection):
    async def on_message(self, message):
        if message == "slow":
            print("begun", flush=True)
            await asyncio.sleep(0.5)
        elif message == "endless":
            print("begun", flush=True)
            await asyncio.sleep(3600)
        elif message == "blocked":
            print("begun", flush=True)
            time.sleep(3600)
        self.send(message)

    def on_close(self, code, reason):
        print("closed", code, flush=True)

logging.basicConfig(stream=sys.stderr)
server = Server(config=ServerConfig(grace=float(sys.argv[1]), close_timeout=1.0))
print(server.listen("ws://127.0.0.1:0", Echo).port, flush=True)
server.run()
print("returned", flush=True)
"""


@contextmanager
def program(grace: float) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", PROGRAM, str(grace)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, f"ws://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains(number: signal.Signals) -> None:
    with program(10) as (process, url), connect(url) as idle, connect(url) as slow:
        idle.send("hello")
        assert idle.recv() == "hello"
        slow.send("slow")
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        with pytest.raises(ConnectionClosed) as caught:
            idle.recv(10)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1001, "going away")
        assert slow.recv(10) == "slow"  # what was under way may finish
        with pytest.raises(ConnectionClosed) as caught:
            slow.recv(10)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1001
        output, errors = process.communicate(timeout=15)
        assert process.returncode == 0
        assert output.splitlines() == ["closed 1001", "closed 1001", "returned"]
        assert errors == ""


def test_a_handler_that_never_ends_is_cut_after_the_grace() -> None:
    with program(0.5) as (process, url), connect(url) as client:
        client.send("endless")
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            client.recv(10)
        output, errors = process.communicate(timeout=15)
        assert process.returncode == 0
        assert 0.5 <= time.monotonic() - began < 8
        assert output.splitlines() == ["closed 1006", "returned"]
        assert errors == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("message", ["endless", "blocked"])
def test_the_second_signal_ends_at_once(number: signal.Signals, message: str) -> None:
    with program(60) as (process, url), connect(url) as idle, connect(url) as client:
        client.send(message)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        if message == "endless":
            with pytest.raises(ConnectionClosed):
                idle.recv(10)  # it drains
            assert process.stdout.readline() == "closed 1001\n"
        else:
            time.sleep(0.5)  # nothing tells from outside that the signal has been handled
        process.send_signal(number)
        assert process.wait(5) == -number
