"""A server that is attacked, an attacker, and good connections that are watched meanwhile.

Each is a process of its own but the last, which are a thread of the tests.
"""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
import trustme
from attrs import define, field

from benchmark.hostile.peer import HEAD
from benchmark.peers.target_server import LISTENERS

PATIENCE = 20.0  # seconds after which something that should happen is taken to hang
DECLARED = 1.0  # seconds; by every connection, and kept for the good ones whatever the others do
DEADLINE = 0.4  # seconds, each of the server's deadlines
INTERVAL = 0.02  # seconds between two messages of a good connection


@define(eq=False)
class Program:
    """A process that answers JSON lines with JSON lines. One thread uses it."""

    process: subprocess.Popen[str]
    log: IO[str]

    def read(self) -> dict[str, Any]:
        """Its next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended: {self.said()}"
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Have it do something, and wait for its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.read()

    def said(self) -> str:
        """What it has written to its standard error so far."""
        self.log.seek(0)
        return self.log.read()


@contextmanager
def running(module: str, *arguments: str) -> Iterator[Program]:
    """Run a program for the length of the block."""
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield Program(process, log)
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=PATIENCE)


PING, PONG = b"\x89", b"\x8a"  # the first byte of such a frame, and of no envelope


@define(eq=False)
class Good:
    """One good connection: it is owed an echo of each message, in order."""

    sock: socket.socket
    owed: deque[tuple[float, bytes]] = field(factory=deque)  # when it was due, and what
    rest: bytes = b""


class Watch(threading.Thread):
    """Good connections that say something at fixed times, whatever comes back (an open loop).

    Args:
        sockets: Open; their thread is this one from here on.
        encode: Makes a message, and the answer to it, of a number.
    """

    def __init__(
        self, sockets: list[socket.socket], encode: Callable[[int, int], tuple[bytes, bytes]]
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._good = [Good(sock) for sock in sockets]
        self._encode = encode
        self._ends = threading.Event()
        self._lock = threading.Lock()  # guards the three below
        self._worst = 0.0
        self._answered = 0
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._run()
        except BaseException as failure:
            with self._lock:
                self._failure = failure

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for good in self._good:
                good.sock.setblocking(False)
                selector.register(good.sock, selectors.EVENT_READ, good)
            number, due = 0, time.monotonic()
            while not self._ends.is_set():
                if (now := time.monotonic()) >= due:
                    for line, good in enumerate(self._good):
                        sent, answer = self._encode(line, number)
                        good.sock.sendall(sent)
                        good.owed.append((due, answer))
                    number, due = number + 1, due + INTERVAL
                for key, _ in selector.select(max(0.0, due - now)):
                    self._receive(key.data)

    def _receive(self, good: Good) -> None:
        try:
            piece = good.sock.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        assert piece, "a good connection was cut"
        good.rest += piece
        while good.owed and len(good.rest) >= len(good.owed[0][1]):
            if good.rest.startswith(PING):  # a heartbeat of the server's
                payload = good.rest[2 : 2 + good.rest[1]]
                good.sock.sendall(PONG + bytes((0x80 | len(payload),)) + bytes(4) + payload)
                good.rest = good.rest[2 + len(payload) :]
                continue
            due, answer = good.owed.popleft()
            assert good.rest.startswith(answer), "not what was owed"
            good.rest = good.rest[len(answer) :]
            with self._lock:
                self._worst = max(self._worst, time.monotonic() - due)
                self._answered += 1

    def check(self, within: float = DECLARED) -> None:
        """See that all were served, within what they declared, since the last time."""
        with self._lock:
            before = self._answered
        ends = time.monotonic() + PATIENCE
        while True:
            with self._lock:
                worst, answered, failure = self._worst, self._answered, self._failure
            assert failure is None, failure
            if answered >= before + len(self._good):  # whatever was due by now is answered
                break
            assert time.monotonic() < ends, "the good connections are served no more"
            time.sleep(INTERVAL / 4)
        with self._lock:
            self._worst = 0.0
        assert worst <= within, f"a good connection waited {worst} s"

    def stop(self) -> None:
        self._ends.set()
        self.join(PATIENCE)
        for good in self._good:
            good.sock.close()


def numbered(line: int, number: int) -> tuple[bytes, bytes]:
    """A message of the first two lines, which are WebSockets, or of the third, which is none."""
    text = b"%08d" % number
    if line < 2:
        return b"\x82\x88\0\0\0\0" + text, b"\x82\x08" + text
    return b"18" + text, b"18" + text


@define(eq=False)
class Site:
    """A server under attack.

    Attributes:
        urls: Its listeners, as `LISTENERS` names them.
        certificate: PEM file of the authority that vouches for it.
        watch: The good connections.
        good: How many they are.
    """

    server: Program
    attacker: Program
    urls: dict[str, str]
    certificate: str
    watch: Watch
    good: int

    def settled(self, done: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The server's statistics once nobody but the good is there, and that is true of them."""
        ends = time.monotonic() + PATIENCE
        while True:
            found = self.server.ask({})
            if found["connections"] == self.good and done(found):
                return found
            assert time.monotonic() < ends, found
            time.sleep(0.005)

    def attack(self, name: str, where: str, copies: int = 1) -> list[dict[str, Any]]:
        """Have it done by so many at once; how each was met."""
        target = {
            "url": self.urls[where],
            "certificate": self.certificate,
            "patience": PATIENCE,
            "seconds": 0.2,
            "most": 128 * 1024,
        }
        found = self.attacker.ask({"attack": name, "target": target, "copies": copies})
        assert "met" in found, found
        met: list[dict[str, Any]] = found["met"]
        return met


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("certificates")
    certificate, authority = issue(directory)
    deadlines = (f"--set={name}_timeout={DEADLINE}" for name in ("handshake", "write", "close"))
    with (
        running(
            "benchmark.peers.target_server",
            "--transport=ws",
            f"--certificate={certificate}",
            f"--declared={DECLARED}",
            *deadlines,
        ) as server,
        running("benchmark.hostile.attacker") as attacker,
    ):
        urls = dict(zip(LISTENERS, server.read()["urls"], strict=True))
        sockets = [open_websocket(urls["ws"]), open_websocket(urls["far"]), dial(urls["tcp"])]
        watch = Watch(sockets, numbered)
        watch.start()
        try:
            yield Site(server, attacker, urls, authority, watch, len(sockets))
        finally:
            watch.stop()


def issue(directory: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 with its key, and who signed it."""
    authority = trustme.CA()
    certificate, trusted = directory / "server.pem", directory / "authority.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    authority.cert_pem.write_to_path(str(trusted))
    return str(certificate), str(trusted)


def dial(url: str) -> socket.socket:
    port = int(url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def open_websocket(url: str) -> socket.socket:
    sock = dial(url)
    sock.sendall(HEAD)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    assert answer.startswith(b"HTTP/1.1 101 ")
    return sock
