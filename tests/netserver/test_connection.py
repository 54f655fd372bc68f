"""What a subclass may do, in every style."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from netserver import Connection, Request, State

pytestmark = pytest.mark.both_loops


class TestPulling:
    @pytest.mark.parametrize("scheme", ["ws", "tcp"])
    def test_it_closes_when_handle_returns(
        self, site: Any, scheme: str, envelope: Any, receive_all: Any
    ) -> None:
        class Pulling(Connection):
            async def on_open(self) -> None:
                await asyncio.sleep(0)
                self.send("welcome")

            async def handle(self) -> None:
                async for message in self:
                    self.send(message)
                    if message in ("bye", b"bye"):
                        return

        listener = site.listen(f"{scheme}://127.0.0.1:0", Pulling)
        if scheme == "tcp":
            with site.dial(listener, envelope(b"1") + envelope(b"2") + envelope(b"bye")) as sock:
                said = [b"welcome", b"1", b"2", b"bye"]
                assert receive_all(sock) == b"".join(map(envelope, said))
        else:
            with connect(site.url(listener)) as client:
                for message in ("1", "2", "bye"):
                    client.send(message)
                assert [client.recv() for _ in range(4)] == ["welcome", "1", "2", "bye"]
                with pytest.raises(ConnectionClosed) as caught:
                    client.recv()
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == 1000
        site.journal.until("close")

    def test_the_messages_end_when_the_peer_leaves(self, site: Any, envelope: Any) -> None:
        ended: list[list[Any]] = []

        class Pulling(Connection):
            async def handle(self) -> None:
                ended.append([message async for message in self])

        sock = site.dial(site.listen("tcp://127.0.0.1:0", Pulling), envelope(b"1") + envelope(b"2"))
        sock.close()
        site.journal.until("close")
        assert ended == [[b"1", b"2"]]

    def test_a_drain_closes_at_once(self, site: Any) -> None:
        class Pulling(Connection):
            async def handle(self) -> None:
                async for message in self:
                    self.send(message)

        with connect(site.url(site.listen("ws://127.0.0.1:0", Pulling))) as client:
            client.send("x")
            assert client.recv() == "x"
            assert site.server.drain(5) is True
            with pytest.raises(ConnectionClosed) as caught:
                client.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1001

    def test_only_in_handle(self, site: Any, envelope: Any, receive_all: Any) -> None:
        class Confused(Connection):
            async def on_message(self, message: object) -> None:
                async for _ in self:
                    pass

        with site.dial(site.listen("tcp://127.0.0.1:0", Confused), envelope(b"x")) as sock:
            assert receive_all(sock) == b""
        assert "override handle()" in str(site.journal.until("error")[0][2])


def test_async_messages_one_at_a_time_in_order(site: Any, envelope: Any, receive: Any) -> None:
    class Slow(Connection):
        running = 0

        async def on_message(self, message: bytes) -> None:
            self.running += 1
            assert self.running == 1
            await asyncio.sleep(0.001 * (3 - int(message) % 3))
            self.running -= 1
            self.send(message)

    said = b"".join(envelope(b"%d" % number) for number in range(50))
    with site.dial(site.listen("tcp://127.0.0.1:0", Slow), said) as sock:
        assert receive(sock, len(said)) == said


def test_some_messages_async_and_some_not(site: Any, envelope: Any, receive: Any) -> None:
    class Mixed(Connection):
        def on_message(self, message: bytes) -> Any:
            return self.later(message) if int(message) % 2 else self.now(message)

        def now(self, message: bytes) -> None:
            self.send(message)

        async def later(self, message: bytes) -> None:
            await asyncio.sleep(0)
            self.send(message)

    said = b"".join(envelope(b"%d" % number) for number in range(50))
    with site.dial(site.listen("tcp://127.0.0.1:0", Mixed), said) as sock:
        assert receive(sock, len(said)) == said


def test_identity_and_the_states(site: Any, envelope: Any, receive_all: Any) -> None:
    states: list[State] = []

    class Known(Connection):
        def __init__(self) -> None:
            super().__init__()
            states.append(self.state)

        def on_connect(self, request: Request) -> None:
            states.append(self.state)
            assert self.send(b"too early") is False
            self.identity = request.target

        def on_open(self) -> None:
            states.append(self.state)

        def on_message(self, message: object) -> None:
            self.send(str(self.identity))
            self.close()
            states.append(self.state)

        def on_close(self, code: int, reason: str) -> None:
            states.append(self.state)

    with site.dial(site.listen("tcp://127.0.0.1:0", Known), envelope(b"x")) as sock:
        assert receive_all(sock) == envelope(b"/")
    site.journal.until("close")
    connecting = State.CONNECTING
    assert states == [connecting, connecting, State.OPEN, State.CLOSED, State.CLOSED]


def test_more_replies_than_are_gathered(site: Any, envelope: Any, receive: Any) -> None:
    class Many(Connection):
        def on_message(self, message: bytes) -> None:
            for number in range(30):
                self.send(b"%04d" % number + bytes(4000))

    said = b"".join(envelope(b"%04d" % n + bytes(4000)) for n in range(30))
    with site.dial(site.listen("tcp://127.0.0.1:0", Many), envelope(b"x")) as sock:
        assert receive(sock, len(said)) == said


def test_a_sync_handler_that_raises_what_ends_a_task(
    site: Any, envelope: Any, receive_all: Any
) -> None:
    class Cancelled(Connection):
        def on_message(self, message: object) -> None:
            raise asyncio.CancelledError

    with site.dial(site.listen("tcp://127.0.0.1:0", Cancelled), envelope(b"x")) as sock:
        sock.settimeout(1)
        assert receive_all(sock) == b""
    assert site.journal.until("close")[0][2] == 1011
