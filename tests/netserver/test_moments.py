"""Moves held up at each of their steps, while data flows and while everything else may happen."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import struct
import threading
from typing import Any

import pytest

from foreman import Node
from netclient import blocking
from netserver import Connection, handover
from netserver.shell import Shell

pytestmark = pytest.mark.both_loops

STEPS = ("leaving", "writing", "on the way", "adopted")


class Steps:
    """Holds connections up at the steps of their moves."""

    def __init__(self, gate: Any) -> None:
        self.delay = 0.0  # at every step, seconds
        self.held: str | None = None  # where the gate stands
        self._gate = gate
        self.seen: set[str] = set()

    async def at(self, step: str) -> None:
        self.seen.add(step)
        if step == self.held:
            await self._gate.passed()
        elif self.delay:
            await asyncio.sleep(random.random() * self.delay)

    def slow_down(self, cls: type[Connection]) -> type[Connection]:
        steps = self

        class Held(cls):  # type: ignore[misc,valid-type]
            async def detach(self) -> None:
                await steps.at("leaving")
                await super().detach()

            async def attach(self, node: Node) -> None:
                if self._shell.was_open:
                    await steps.at("on the way")
                await super().attach(node)
                if self._shell.was_open:
                    await steps.at("adopted")

        return Held


@pytest.fixture
def steps(gate: Any, monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps(gate)
    unwritten, written = handover._unwritten, handover._written
    turns = itertools.count()

    async def written_later(shell: Shell) -> None:
        await steps.at("writing")
        await written(shell)

    # Every detach finds something unwritten once, so that each has the step.
    monkeypatch.setattr(
        handover, "_unwritten", lambda shell: next(turns) % 2 == 0 or unwritten(shell)
    )
    monkeypatch.setattr(handover, "_written", written_later)
    return steps


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


@pytest.mark.parametrize("scheme", ["ws", "tcp", "tls"])
def test_delays_at_every_step(site: Any, steps: Steps, scheme: str, place: Any) -> None:
    """The peer talks, a thread of ours talks, and nothing of either is lost or out of order."""
    count = 400
    steps.delay = 0.004
    listener = site.listen(place(scheme), steps.slow_down(Echo))
    nodes = [*site.foreman.nodes, *(site.foreman.spawn() for _ in range(2))]
    options = {"tls": site.tls.client} if scheme == "tls" else {}
    with blocking.Client(site.url(listener), reconnect=None, **options) as client:
        connection = site.journal.until("open")[0][1]
        done = threading.Event()
        moves = [0]

        def move() -> None:
            for node in itertools.cycle(nodes):
                moves[0] += site.foreman.move(connection, node).result(20)
                if done.is_set() and moves[0] >= 30:
                    return

        def push() -> None:
            for number in range(count):
                assert connection.send(b"pushed %d" % number + bytes(500))

        def ask() -> None:
            for number in range(count):
                client.send(b"asked %d" % number + bytes(500))

        threads = [threading.Thread(target=target) for target in (move, push, ask)]
        for thread in threads:
            thread.start()
        heard: dict[bytes, list[int]] = {b"pushed": [], b"asked": []}
        for _ in range(2 * count):
            message = client.recv(20)
            assert isinstance(message, bytes)
            who, number = message.rstrip(b"\0").split()
            heard[who].append(int(number))
        done.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert heard == {b"pushed": [*range(count)], b"asked": [*range(count)]}
    assert steps.seen == set(STEPS)
    assert not site.journal.named("error")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
class TestAtTheStep:
    """The move stands at one step, something else happens, and the move goes on."""

    def hold(
        self, site: Any, steps: Steps, gate: Any, scheme: str, step: str
    ) -> tuple[Any, Any, Any]:
        listener = site.listen(f"{scheme}://127.0.0.1:0", steps.slow_down(Echo))
        sock, connection = site.open(listener)
        sock.sendall(b"11a")
        assert sock.recv(3) == b"11a"
        steps.held = step
        moved = site.foreman.move(connection, site.foreman.spawn())
        assert gate.reached.wait(10)
        return sock, connection, moved

    def test_messages_come_and_go(
        self, site: Any, steps: Steps, gate: Any, scheme: str, step: str, receive: Any
    ) -> None:
        sock, connection, moved = self.hold(site, steps, gate, scheme, step)
        with sock:
            sock.sendall(b"11b11c")
            for number in range(5):
                assert connection.send(b"%d" % number)
            gate.open()
            assert moved.result(10) is True
            sock.sendall(b"11d")
            said = receive(sock, 3 * 8)
        messages = [said[i + 2 : i + 3] for i in range(0, len(said), 3)]
        assert [m for m in messages if m.isdigit()] == [b"%d" % n for n in range(5)]
        assert [m for m in messages if m.isalpha()] == [b"b", b"c", b"d"]

    @pytest.mark.parametrize("way", ["end", "reset"])
    def test_the_peer_goes(
        self, site: Any, steps: Steps, gate: Any, scheme: str, step: str, way: str
    ) -> None:
        sock, connection, moved = self.hold(site, steps, gate, scheme, step)
        if way == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        gate.open()
        moved.result(10)
        assert site.journal.until("close")[0][1] is connection

    @pytest.mark.parametrize("way", ["close", "abort", "remove", "drain", "stop"])
    def test_we_end_it(
        self,
        site: Any,
        steps: Steps,
        gate: Any,
        scheme: str,
        step: str,
        way: str,
        receive_all: Any,
    ) -> None:
        sock, connection, moved = self.hold(site, steps, gate, scheme, step)
        with sock:
            if way == "remove":
                site.foreman.remove(connection)
            elif way == "stop":
                stopping = threading.Thread(target=site.foreman.stop, args=(10,))
                stopping.start()
            elif way == "drain":
                assert site.server.drain(0.01) is False
            else:
                getattr(connection, way)()
            gate.open()
            moved.result(10)
            assert receive_all(sock) == b""
            sock.close()  # or we would be waited for
            assert site.journal.until("close")[0][1] is connection
            if way == "stop":
                stopping.join(20)
                assert not stopping.is_alive()

    def test_it_is_sent_elsewhere(
        self, site: Any, steps: Steps, gate: Any, scheme: str, step: str, receive: Any
    ) -> None:
        sock, connection, moved = self.hold(site, steps, gate, scheme, step)
        with sock:
            last = site.foreman.spawn()
            again = site.foreman.move(connection, last)
            gate.open()
            assert [moved.result(10), again.result(10)] == [False, True]
            sock.sendall(b"11b")
            assert receive(sock, 3) == b"11b"
            assert connection.node is last

    def test_it_declares_another_latency_twice(
        self, site: Any, steps: Steps, gate: Any, scheme: str, step: str, receive: Any
    ) -> None:
        sock, connection, moved = self.hold(site, steps, gate, scheme, step)
        with sock:
            sock.sendall(b"11b")
            connection.required_latency = 0.02
            connection.required_latency = 5.0
            gate.open()
            moved.result(10)
            assert receive(sock, 3) == b"11b"
            assert connection.required_latency == 5.0
            sock.sendall(b"11c")
            assert receive(sock, 3) == b"11c"

    def test_it_takes_too_long(
        self, site: Any, steps: Steps, gate: Any, scheme: str, step: str, receive: Any
    ) -> None:
        """It stays where it cannot leave, and arrives where it has left."""
        sock, connection, moved = self.hold(site, steps, gate, scheme, step)
        with sock:
            before = connection.node
            sock.sendall(b"11b")
            if step in ("leaving", "writing"):
                assert moved.result(10) is False  # the gate is shut still
                assert connection.node is not before
            gate.open()
            moved.result(10)
            assert receive(sock, 3) == b"11b"

    test_it_takes_too_long = pytest.mark.parametrize("move_timeout", [0.05])(test_it_takes_too_long)
