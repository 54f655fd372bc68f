"""Every way to end: one `on_close` each and nothing left behind, as the ``site`` fixture checks."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import threading
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from foreman import Foreman
from netserver import Connection, Reject, Request, Server, ServerConfig, State

BOTH = ["ws", "tcp"]


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


@pytest.fixture
def waiting(gate: Any) -> type[Connection]:
    """A class whose handler is under way until the gate is open."""

    class Waiting(Connection):
        ended = False
        raises: BaseException | None = None

        async def on_message(self, message: bytes | str) -> None:
            await gate.passed()
            self.ended = True
            if self.raises is not None:
                raise self.raises
            self.send(message)

    return Waiting


def reset(sock: socket.socket) -> None:
    """Close with a reset instead of an end of stream."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.both_loops
class TestThePeerEnds:
    def test_it_closes(self, site: Any, envelope: Any) -> None:
        sock, _ = site.open(site.listen("tcp://127.0.0.1:0", Echo))
        sock.close()
        assert site.journal.until("close")[0][2:] == (1000, "")

    def test_it_half_closes_and_still_gets_its_answers(
        self, site: Any, envelope: Any, receive_all: Any
    ) -> None:
        with site.dial(site.listen("tcp://127.0.0.1:0", Echo)) as sock:
            sock.sendall(envelope(b"x") * 1000)
            sock.shutdown(socket.SHUT_WR)
            assert receive_all(sock) == envelope(b"x") * 1000

    def test_it_resets(self, site: Any) -> None:
        sock, _ = site.open(site.listen("tcp://127.0.0.1:0", Echo))
        reset(sock)
        assert site.journal.until("close")[0][2] == 1006

    def test_it_vanishes_in_mid_message(self, site: Any) -> None:
        sock, _ = site.open(site.listen("tcp://127.0.0.1:0", Echo), b"3100only this")
        sock.close()
        assert site.journal.until("close")[0][2:] == (1006, "the stream ended in mid-message")

    def test_a_websocket_ends_without_a_close(self, site: Any) -> None:
        listener = site.listen("ws://127.0.0.1:0", Echo)
        with connect(site.url(listener)) as client:
            site.journal.until("open")
            client.socket.shutdown(socket.SHUT_RDWR)
            assert site.journal.until("close")[0][2] == 1006

    @pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (4321, "ümläut")])
    def test_it_closes_with_a_code(self, site: Any, code: int, reason: str) -> None:
        listener = site.listen("ws://127.0.0.1:0", Echo)
        with connect(site.url(listener)) as client:
            client.close(code, reason)
        assert site.journal.until("close")[0][2:] == (code, reason)
        connection = site.journal.named("close")[0][1]
        assert (connection.close_code, connection.close_reason) == (code, reason)
        assert connection.state is State.CLOSED

    @pytest.mark.parametrize("ends", ["close", "reset"])
    @pytest.mark.parametrize("raises", [False, True])
    def test_while_a_handler_is_under_way(
        self,
        site: Any,
        waiting: type[Connection],
        gate: Any,
        envelope: Any,
        ends: str,
        raises: bool,
    ) -> None:
        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", waiting), envelope(b"x"))
        assert gate.reached.wait(10)
        if raises:
            connection.raises = ValueError("after the end")
        if ends == "close":
            sock.close()
        else:
            reset(sock)
        site.server.listeners[0].close()  # the connection is on its own now
        while connection.state is not State.CLOSED:
            pass
        assert not site.journal.named("close")  # not before what is under way has ended
        gate.open()
        site.journal.until("close")
        assert connection.ended
        names = [entry[0] for entry in site.journal.entries]
        assert names == (["open", "error", "close"] if raises else ["open", "close"])


@pytest.mark.both_loops
class TestWeEnd:
    @pytest.mark.parametrize("scheme", BOTH)
    def test_close_after_what_was_sent(
        self, site: Any, scheme: str, envelope: Any, receive_all: Any
    ) -> None:
        class Leaving(Connection):
            def on_message(self, message: bytes) -> None:
                self.send(bytes(500_000))
                self.close(4000, "enough")
                self.close(4001, "again")
                assert self.send(b"late") is False

        listener = site.listen(f"{scheme}://127.0.0.1:0", Leaving)
        if scheme == "tcp":
            with site.dial(listener, envelope(b"x")) as sock:
                assert receive_all(sock) == envelope(bytes(500_000))
        else:
            with connect(site.url(listener)) as client:
                client.send(b"x")
                assert client.recv() == bytes(500_000)
                with pytest.raises(ConnectionClosed) as caught:
                    client.recv()
                assert caught.value.rcvd is not None
                assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4000, "enough")
        assert site.journal.until("close")[0][2:] == (4000, "enough")

    @pytest.mark.parametrize("scheme", BOTH)
    def test_abort(self, site: Any, scheme: str) -> None:
        class Cutting(Connection):
            def on_open(self) -> None:
                self.abort()
                self.abort()
                self.close()

        listener = site.listen(f"{scheme}://127.0.0.1:0", Cutting)
        if scheme == "tcp":
            with site.dial(listener) as sock:
                assert sock.recv(1) == b""
        else:
            with site.dial(
                listener,
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            ):
                site.journal.until("close")
        assert site.journal.until("close")[0][2:] == (1006, "aborted")

    @pytest.mark.parametrize("way", ["close", "abort"])
    def test_from_another_thread_and_again_after_the_end(self, site: Any, way: str) -> None:
        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Echo))
        with sock:
            getattr(connection, way)()
            site.journal.until("close")
            while connection.node is not None:
                pass
            for _ in range(3):
                connection.close()
                connection.abort()
                connection.ping()
                assert connection.send(b"late") is False
            assert connection.join("late") is False

    def test_a_close_that_the_peer_never_answers(self, site: Any) -> None:
        listener = site.listen("ws://127.0.0.1:0", Echo)
        with site.dial(
            listener,
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        ):
            site.journal.until("open")[0][1].close()
            assert site.journal.until("close")[0][2:] == (
                1006,
                "the peer did not answer the close within 2 s",
            )

    @pytest.mark.parametrize(("code", "reason"), [(1005, ""), (999, ""), (1000, "x" * 124)])
    def test_a_code_that_may_not_be_sent(self, site: Any, code: int, reason: str) -> None:
        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Echo))
        with sock:
            with pytest.raises(ValueError, match="close"):
                connection.close(code, reason)
            assert connection.state is State.OPEN

    def test_removed_from_its_node(self, site: Any) -> None:
        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Echo))
        with sock:
            site.foreman.remove(connection).result(10)
            assert sock.recv(1) == b""
            assert site.journal.until("close")[0][2:] == (1006, "removed from its node")

    def test_removed_while_a_handler_is_under_way(
        self, site: Any, waiting: type[Connection], gate: Any, envelope: Any
    ) -> None:
        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", waiting), envelope(b"x"))
        with sock:
            assert gate.reached.wait(10)
            site.foreman.remove(connection).result(10)
            gate.open()
            site.journal.until("close")
            assert connection.ended


@pytest.mark.both_loops
class TestAHandlerRaises:
    @pytest.mark.parametrize("style", ["sync", "async", "pull"])
    @pytest.mark.parametrize("scheme", BOTH)
    def test_it_closes_its_connection_only(
        self,
        site: Any,
        caplog: pytest.LogCaptureFixture,
        scheme: str,
        style: str,
        envelope: Any,
        receive_all: Any,
    ) -> None:
        class Sync(Connection):
            def on_message(self, message: object) -> None:
                raise RuntimeError("as the test wants")

        class Async(Connection):
            async def on_message(self, message: object) -> None:
                await asyncio.sleep(0)
                raise RuntimeError("as the test wants")

        class Pull(Connection):
            async def handle(self) -> None:
                async for _ in self:
                    raise RuntimeError("as the test wants")

        cls = {"sync": Sync, "async": Async, "pull": Pull}[style]
        listener = site.listen(f"{scheme}://127.0.0.1:0", cls)
        other, _ = site.open(site.listen("tcp://127.0.0.1:0", Echo))
        if scheme == "tcp":
            with site.dial(listener, envelope(b"x") * 3) as sock:
                assert receive_all(sock) == b""
        else:
            with connect(site.url(listener)) as client:
                client.send(b"x")
                with pytest.raises(ConnectionClosed) as caught:
                    client.recv()
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == 1011
        _, connection, code, reason = site.journal.until("close")[0]
        assert (code, reason) == (1011, "internal error")
        assert [str(error) for _, _, error in site.journal.named("error")] == ["as the test wants"]
        assert connection.statistics().errors == 1
        assert site.server.statistics().events["failed"] == 1
        records = [r for r in caplog.records if r.exc_info and r.name.startswith("netserver")]
        assert len(records) == 1
        assert records[0].levelno == logging.ERROR
        with other:
            other.sendall(envelope(b"still here"))
            assert other.recv(100) == envelope(b"still here")

    @pytest.mark.parametrize(
        "error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()]
    )
    def test_even_what_is_meant_to_end_a_thread(
        self,
        site: Any,
        waiting: type[Connection],
        gate: Any,
        error: BaseException,
        envelope: Any,
        receive_all: Any,
    ) -> None:
        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", waiting))
        with sock:
            connection.raises = error
            gate.open()
            sock.sendall(envelope(b"x") * 3)
            assert receive_all(sock) == b""
            sock.close()  # or we would be waited for
            assert site.journal.until("close")[0][2] == 1011
            assert site.journal.named("error")[0][2] is error

    def test_no_message_is_handed_out_after(self, site: Any, envelope: Any) -> None:
        handed: list[bytes] = []

        class Raising(Connection):
            def on_message(self, message: bytes) -> None:
                handed.append(message)
                raise RuntimeError("as the test wants")

            async def on_error(self, error: BaseException) -> None:
                await asyncio.sleep(0)

        sock = site.dial(site.listen("tcp://127.0.0.1:0", Raising))
        with sock:
            sock.sendall(envelope(b"1") + envelope(b"2") + envelope(b"3"))
            site.journal.until("close")
        assert handed == [b"1"]

    @pytest.mark.parametrize("where", ["on_open", "on_close", "on_error", "on_connect"])
    @pytest.mark.parametrize("style", ["sync", "async"])
    def test_in_any_callback(
        self, site: Any, where: str, style: str, envelope: Any, receive_all: Any
    ) -> None:
        ended = threading.Event()

        class Raising(Connection):
            def on_message(self, message: object) -> None:
                if where == "on_error":
                    raise RuntimeError("first")
                self.close()

        def raising(self: Connection, *arguments: object) -> None:
            ended.set()
            raise RuntimeError("as the test wants")

        async def raising_later(self: Connection, *arguments: object) -> None:
            await asyncio.sleep(0)
            raising(self)

        setattr(Raising, where, raising if style == "sync" else raising_later)
        with site.dial(site.listen("tcp://127.0.0.1:0", Raising), envelope(b"x")) as sock:
            assert receive_all(sock) == b""
            sock.close()  # or we would be waited for
            assert ended.wait(10)
        opened = 0 if where == "on_connect" else 1
        assert len(site.journal.until("close", opened)) == opened


@pytest.mark.both_loops
class TestOnClose:
    @pytest.mark.parametrize("style", ["sync", "async"])
    def test_a_drain_waits_for_it(self, site: Any, gate: Any, style: str) -> None:
        """Even when it takes its time, the server has not drained before it ended."""
        order: list[str] = []
        proceed = threading.Event()

        class Sync(Connection):
            def on_close(self, code: int, reason: str) -> None:
                gate.reached.set()
                proceed.wait(10)
                order.append("on_close")

        class Async(Connection):
            async def on_close(self, code: int, reason: str) -> None:
                await gate.passed()
                order.append("on_close")

        cls = Sync if style == "sync" else Async
        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", cls))

        def drain() -> None:
            assert site.server.drain(10)
            order.append("drained")

        drainer = threading.Thread(target=drain)
        drainer.start()
        assert gate.reached.wait(10)
        assert connection.node is not None
        proceed.set()
        gate.open()
        drainer.join(10)
        sock.close()
        assert order == ["on_close", "drained"]

    @pytest.mark.parametrize("how", ["close", "removal"])
    def test_it_is_called_once_when_the_foreman_is_not_ours(
        self, loop_factory: Any, journal: Any, how: str
    ) -> None:
        with Foreman(loop_factory=loop_factory) as foreman:
            server = Server(foreman=foreman)
            server.start()
            listener = server.listen("tcp://127.0.0.1:0", journal.watch(type("E", (Echo,), {})))
            address: Any = listener.address
            with socket.create_connection(address, 10) as sock:
                journal.until("open")
                if how == "close":
                    server.close()
                else:
                    foreman.stop()
                assert sock.recv(1) == b""
                journal.until("close")
        server.close()
        assert len(journal.named("close")) == 1
        assert not server.statistics().connections


@pytest.mark.both_loops
class TestTheServerEnds:
    def test_a_handler_that_never_ends_is_cancelled(self, site: Any, envelope: Any) -> None:
        begun, cleaned = threading.Event(), threading.Event()

        class Endless(Connection):
            async def on_message(self, message: object) -> None:
                async def inner() -> None:
                    begun.set()
                    await asyncio.sleep(3600)

                try:
                    await asyncio.create_task(inner())
                finally:
                    await asyncio.sleep(0.05)  # it tidies up, and takes its time
                    cleaned.set()

        sock, _ = site.open(site.listen("tcp://127.0.0.1:0", Endless), envelope(b"x") * 2)
        with sock:
            assert begun.wait(10)
            assert site.server.drain(0.1) is False
            site.server.close()
            assert cleaned.is_set()
            assert site.journal.until("close")[0][2:] == (1006, "the server closed")

    def test_one_that_does_not_begin_before_the_end(self, site: Any) -> None:
        """The peer came while the server was going."""
        listener = site.listen("tcp://127.0.0.1:0", Echo)
        site.server.census.close()
        with site.dial(listener) as sock:
            assert sock.recv(1) == b""
        assert site.server.statistics().events["refused"] == 1


@pytest.mark.both_loops
class TestBeforeItIsOpen:
    @pytest.mark.parametrize("scheme", BOTH)
    @pytest.mark.parametrize("style", ["sync", "async"])
    def test_refused(self, site: Any, scheme: str, style: str, receive_all: Any) -> None:
        class Sync(Connection):
            def on_connect(self, request: Request) -> None:
                raise Reject(418, "teapot", headers=(("X-Tea", "yes"),))

        class Async(Connection):
            async def on_connect(self, request: Request) -> None:
                await asyncio.sleep(0)
                raise Reject(418, "teapot", headers=(("X-Tea", "yes"),))

        cls = Sync if style == "sync" else Async
        with site.dial(site.listen(f"{scheme}://127.0.0.1:0", cls)) as sock:
            if scheme == "tcp":
                assert receive_all(sock) == b""
            else:
                sock.sendall(HANDSHAKE)
                answer = receive_all(sock)
                assert answer.startswith(b"HTTP/1.1 418 ")
                assert b"X-Tea: yes" in answer
                assert answer.endswith(b"teapot")
        assert site.server.statistics().events["refused"] == 1
        assert not site.journal.entries

    @pytest.mark.parametrize(
        "refusal", [Reject(499), Reject(403, headers=(("X", "a\r\nb"),)), RuntimeError()]
    )
    def test_an_answer_that_cannot_be_given(
        self, site: Any, refusal: Exception, receive_all: Any
    ) -> None:
        class Refusing(Connection):
            def on_connect(self, request: Request) -> None:
                raise refusal

        with site.dial(site.listen("ws://127.0.0.1:0", Refusing), HANDSHAKE) as sock:
            assert receive_all(sock).startswith(b"HTTP/1.1 500 ")

    @pytest.mark.parametrize("scheme", ["ws", "tcp", "tls"])
    def test_nothing_reaches_it_before_it_is_let_in(
        self, site: Any, gate: Any, scheme: str, envelope: Any, receive: Any
    ) -> None:
        handed: list[object] = []

        class Gated(Connection):
            async def on_connect(self, request: Request) -> None:
                await gate.passed()
                handed.append("connect")

            async def on_open(self) -> None:
                await asyncio.sleep(0)
                handed.append("open")

            def on_message(self, message: object) -> None:
                handed.append(message)
                self.send(b"done")

        head = HANDSHAKE if scheme == "ws" else b""
        message = b"\x82\x81\0\0\0\0x" if scheme == "ws" else envelope(b"x")
        with site.dial(site.listen(f"{scheme}://127.0.0.1:0", Gated), head + message) as sock:
            gate.open()
            assert sock.recv(1)
            if scheme == "ws":
                site.journal.until("open")
                while len(handed) < 3:
                    pass
        assert handed == ["connect", "open", b"x"]

    @pytest.mark.parametrize("scheme", ["ws", "tcp", "tls"])
    def test_nothing_reaches_one_that_is_refused(
        self, site: Any, scheme: str, envelope: Any, receive_all: Any
    ) -> None:
        handed: list[object] = []

        class Gated(Connection):
            async def on_connect(self, request: Request) -> None:
                await asyncio.sleep(0.05)
                raise Reject()

            def on_message(self, message: object) -> None:
                handed.append(message)

        head = HANDSHAKE if scheme == "ws" else b""
        message = b"\x82\x81\0\0\0\0x" if scheme == "ws" else envelope(b"x")
        with site.dial(site.listen(f"{scheme}://127.0.0.1:0", Gated), head + message) as sock:
            receive_all(sock)
        assert handed == []

    @pytest.mark.parametrize(
        "config", [ServerConfig(handshake_timeout=0.2, close_timeout=0.2)], ids=["short"]
    )
    @pytest.mark.parametrize("phase", ["silent", "half a head", "tls", "on_connect"])
    def test_the_handshake_has_a_deadline(
        self, site: Any, phase: str, receive_all: Any, until: Any
    ) -> None:
        cancelled = threading.Event()

        class Endless(Connection):
            async def on_connect(self, request: Request) -> None:
                try:
                    await asyncio.sleep(3600)
                finally:
                    cancelled.set()

        scheme = "wss" if phase == "tls" else "ws"
        listener = site.listen(f"{scheme}://127.0.0.1:0", Endless)
        address: Any = listener.address
        said = {"half a head": HANDSHAKE[:40], "on_connect": HANDSHAKE}.get(phase, b"")
        with socket.create_connection(address, 10) as sock:
            sock.sendall(said)
            receive_all(sock)
        until(lambda: not site.server.statistics().connections)
        assert cancelled.is_set() == (phase == "on_connect")
        assert not site.journal.entries

    @pytest.mark.parametrize("scheme", BOTH)
    @pytest.mark.parametrize("end", ["drain", "close", "peer", "removal", "self"])
    def test_ended_while_on_connect_thinks(
        self, site: Any, gate: Any, scheme: str, end: str, until: Any, receive_all: Any
    ) -> None:
        seen: list[Connection] = []

        class Thinking(Connection):
            async def on_connect(self, request: Request) -> None:
                seen.append(self)
                await gate.passed()
                raise Reject()

        head = HANDSHAKE if scheme == "ws" else b""
        sock = site.dial(site.listen(f"{scheme}://127.0.0.1:0", Thinking), head)
        assert gate.reached.wait(10)
        if end == "drain":
            assert site.server.drain(0.05) is False
        elif end == "close":
            site.server.close()
        elif end == "peer":
            sock.close()
        elif end == "removal":
            site.foreman.remove(seen[0]).result(10)
        else:
            seen[0].close()
        gate.open()
        if end != "peer":
            receive_all(sock)
            sock.close()
        until(lambda: not site.server.statistics().connections)
        assert not site.journal.entries  # neither opened, nor closed, nor in error


HANDSHAKE = (
    b"GET /chat?room=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
