"""The server as a whole: starting, ending, being told nonsense, telling what happens."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from typing import Any

import pytest

from foreman import (
    BestFit,
    Demand,
    Foreman,
    Infeasible,
    InvalidLatency,
    NotRunning,
    Placement,
    Refuse,
    Worker,
)
from netserver import CertificateError, Connection, ListenError, Server, ServerConfig, events
from netwire import UrlError


class Echo(Connection):
    def on_message(self, message: bytes | str) -> None:
        self.send(message)


def echoes(address: Any) -> bool:
    with socket.create_connection(address, 10) as sock:
        sock.sendall(b"12hi")
        return sock.recv(10) == b"12hi"


def served(address: Any) -> bool:
    """Whether a connection is kept, or ended at once."""
    with socket.create_connection(address, 10) as sock:
        sock.sendall(b"12hi")
        try:
            return bool(sock.recv(10))
        except ConnectionResetError:
            return False


class NoneTooStrict(BestFit):
    """A policy that refuses whoever declares less than a millisecond."""

    def place(self, demand: Demand, *arguments: Any, **options: Any) -> Placement:
        if demand.required_latency < 1e-3:
            return Refuse("as the test wants")
        return super().place(demand, *arguments, **options)


class TestRunning:
    def test_a_context_manager(self) -> None:
        with Server() as server:
            assert echoes(server.listen("tcp://127.0.0.1:0", Echo).address)
        with pytest.raises(NotRunning, match="closed"):
            server.start()

    async def test_an_asynchronous_one(self) -> None:
        async with Server() as server:
            listener = server.listen("tcp://127.0.0.1:0", Echo)
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(b"12hi")
            assert await reader.readexactly(4) == b"12hi"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    def test_listening_before_the_start(self) -> None:
        server = Server()
        listener = server.listen("tcp://127.0.0.1:0", Echo)
        address: Any = listener.address
        with socket.create_connection(address, 10) as early:
            early.sendall(b"12hi")
            server.start()
            server.start()
            assert early.recv(10) == b"12hi"
        server.close()
        server.close()

    def test_closing_what_never_started(self) -> None:
        server = Server()
        server.listen("tcp://127.0.0.1:0", Echo)
        server.close()
        assert server.listeners == ()

    def test_a_start_that_fails_leaves_nothing(self) -> None:
        threads = set(threading.enumerate())
        with Foreman(policy=NoneTooStrict()) as foreman:
            server = Server(foreman=foreman)
            listener = server.listen("tcp://127.0.0.1:0", Echo, name="door")
            listener.required_latency = 1e-4
            with pytest.raises(Infeasible), server:
                pass
            with pytest.raises(ConnectionRefusedError):
                echoes(listener.address)
        assert set(threading.enumerate()) <= threads

    def test_a_foreman_that_does_not_run_yet_ends_with_the_server(self) -> None:
        foreman = Foreman()
        with Server(foreman=foreman) as server:
            server.listen("tcp://127.0.0.1:0", Echo)
            assert foreman.nodes
        assert not foreman.nodes
        with Foreman() as running:
            with Server(foreman=running) as server:
                server.listen("tcp://127.0.0.1:0", Echo)
            assert running.nodes, "it ran before, so it goes on"

    def test_listening_after_the_end(self, site: Any) -> None:
        assert site.server.drain()
        with pytest.raises(NotRunning):
            site.server.listen("tcp://127.0.0.1:0", Echo)
        with pytest.raises(NotRunning):
            site.server.connect("tcp://127.0.0.1:9", Echo)
        site.server.close()
        with pytest.raises(NotRunning):
            site.server.run()

    def test_run_on_another_thread_until_stop(self) -> None:
        opened = threading.Event()
        server = Server(on_event=lambda _, event: opened.set())
        listener = server.listen("tcp://127.0.0.1:0", Echo)
        thread = threading.Thread(target=server.run)
        thread.start()
        address: Any = listener.address
        with socket.create_connection(address, 10) as sock:
            assert opened.wait(10)
            server.stop()
            assert sock.recv(1) == b""
            thread.join(10)
            assert not thread.is_alive()

    def test_a_handler_that_blocks_does_not_hold_up_the_end(
        self, site: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        blocking, over = threading.Event(), threading.Event()

        class Blocking(Connection):
            required_latency = 100.0

            def on_message(self, message: object) -> None:
                blocking.set()
                over.wait(20)

        monkeypatch.setattr("netserver.listener.CLOSING", 0.05)
        listener = site.listen("tcp://127.0.0.1:0", Blocking)
        sock, connection = site.open(listener)
        with sock:
            assert site.foreman.move(listener, connection.node).result(10) is True
            sock.sendall(b"11x")
            assert blocking.wait(10)
            assert site.server.drain(0.05) is False
            assert "which is busy" in caplog.text
            over.set()
            assert sock.recv(1) == b""


class TestNonsense:
    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:0", "127.0.0.1:80", "", "tcp://127.0.0.1", "ws://h:99999"]
    )
    def test_urls(self, site: Any, url: str) -> None:
        for method in (site.server.listen, site.server.connect):
            with pytest.raises(UrlError):
                method(url, Echo)

    def test_tls_and_its_absence(self, site: Any) -> None:
        with pytest.raises(CertificateError, match="needs tls="):
            site.server.listen("wss://127.0.0.1:0", Echo)
        with pytest.raises(UrlError, match="not encrypted"):
            site.server.listen("ws://127.0.0.1:0", Echo, tls=site.tls.server)

    def test_framings(self, site: Any) -> None:
        with pytest.raises(ValueError, match="no framing is named"):
            site.server.listen("tcp://127.0.0.1:0", Echo, framing="morse")
        with pytest.raises(UrlError, match="no framing="):
            site.server.listen("ws://127.0.0.1:0", Echo, framing="lines")

    @pytest.mark.parametrize("cls", [object, "Echo", Echo.on_message, Worker])
    def test_classes(self, site: Any, cls: Any) -> None:
        with pytest.raises(TypeError, match="subclass Connection"):
            site.server.listen("tcp://127.0.0.1:0", cls)

    @pytest.mark.parametrize("value", [0, -1, 0.0, math.nan, math.inf, "1", True, [], 10**400])
    def test_latencies(self, site: Any, value: Any) -> None:
        for method in (site.server.listen, site.server.connect):
            with pytest.raises(InvalidLatency):
                method("tcp://127.0.0.1:0", Echo, required_latency=value)
        with pytest.raises(InvalidLatency):
            type("Bad", (Connection,), {"required_latency": value})
        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Echo, required_latency=0.5))
        with sock:
            with pytest.raises(InvalidLatency):
                connection.required_latency = value
            assert connection.required_latency == 0.5
            sock.sendall(b"12hi")
            assert sock.recv(10) == b"12hi"

    @pytest.mark.parametrize(
        "setting",
        [
            {"handshake_timeout": 0},
            {"grace": math.nan},
            {"close_timeout": math.inf},
            {"send_limit": 0},
            {"backlog": -1},
            {"max_connections": 0},
        ],
    )
    def test_configurations(self, setting: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(setting))):
            ServerConfig(**setting)

    @pytest.mark.parametrize("message", [None, 1, ["x"], bytearray(b"x"), memoryview(b"x")])
    def test_messages(self, site: Any, message: Any) -> None:
        raised: list[type[BaseException]] = []

        class Sending(Connection):
            def on_message(self, _: object) -> None:
                for send in (self.send, self.server.broadcast):
                    try:
                        send(message)
                    except TypeError as error:
                        raised.append(type(error))
                self.close()
                with pytest.raises(TypeError):
                    self.send(message)

        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Sending))
        with sock:
            with pytest.raises(TypeError, match="bytes or str"):
                connection.send(message)
            sock.sendall(b"11x")
            assert sock.recv(1) == b""
        assert raised == [TypeError, TypeError]


class TestTelling:
    def test_every_event(self, site: Any, envelope: Any) -> None:
        told: list[tuple[Worker, object]] = []
        site.server._event_listener = lambda worker, event: told.append((worker, event))
        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Echo))
        assert connection in site.server.connections
        target = site.foreman.spawn()
        assert site.foreman.move(connection, target).result(10) is True
        site.journal.until("moved")
        sock.sendall(b"bad")
        site.journal.until("close")
        while site.server.statistics().connections:
            pass
        sock.close()
        kinds = [type(event) for worker, event in told if worker is connection]
        assert sorted(kinds, key=str) == sorted(
            [events.Accepted, events.Opened, events.Moved, events.Failed, events.Closed], key=str
        )
        counted = site.server.statistics().events
        assert {counted[kind.__name__.lower()] for kind in kinds} == {1}
        assert connection not in site.server.connections

    def test_a_subscriber_that_raises(
        self, site: Any, envelope: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        def raising(worker: Worker, event: object) -> None:
            raise RuntimeError("as the test wants")

        site.server._event_listener = raising
        listener = site.listen("tcp://127.0.0.1:0", Echo)
        assert echoes(listener.address)
        assert "on_event raised" in caplog.text


class TestLatency:
    def test_declared_on_an_open_connection(self, site: Any) -> None:
        sock, connection = site.open(site.listen("tcp://127.0.0.1:0", Echo))
        with sock:
            before = connection.node
            connection.required_latency = 1e-6  # nobody else's hold fits into that
            connection, old, new = site.journal.until("moved")[0][1:]
            assert old is before
            assert new is connection.node
            sock.sendall(b"12hi")
            assert sock.recv(10) == b"12hi"

    def test_infeasible_at_the_cap(self, loop_factory: Any) -> None:
        opened = threading.Event()

        class Opening(Echo):
            def on_open(self) -> None:
                opened.set()

        with (
            Foreman(policy=NoneTooStrict(), loop_factory=loop_factory) as foreman,
            Server(foreman=foreman) as server,
        ):
            address: Any = server.listen("tcp://127.0.0.1:0", Opening).address
            with socket.create_connection(address, 10) as sock:
                assert opened.wait(10)
                connection: Any = server.connections[0]
                node = connection.node
                with pytest.raises(Infeasible, match="as the test wants"):
                    connection.required_latency = 1e-4
                assert connection.required_latency == 1.0
                assert connection.node is node
                sock.sendall(b"12hi")
                assert sock.recv(10) == b"12hi"
            strict = server.listen("tcp://127.0.0.1:0", Opening, required_latency=1e-4)
            assert not served(strict.address)


def test_a_connection_the_foreman_refuses(loop_factory: Any) -> None:
    """No node can be had: the peer is told by the end of its stream, and nothing is kept."""
    opens = [0]

    def failing() -> Any:
        opens[0] += 1
        if opens[0] > 1:
            raise OSError(24, "Too many open files")
        return loop_factory()

    class Strict(Echo):
        required_latency = 1e-5

    with Foreman(loop_factory=failing) as foreman, Server(foreman=foreman) as server:
        listener = server.listen("tcp://127.0.0.1:0", Strict)
        address: Any = listener.address
        with socket.create_connection(address, 10) as sock:
            assert sock.recv(1) == b""
        assert server.statistics().connections == 0
        assert server.statistics().events == {"accepted": 1, "refused": 1}


def test_a_listen_error_is_an_os_error() -> None:
    with Server() as server:
        first = server.listen("tcp://127.0.0.1:0", Echo)
        with pytest.raises(OSError, match="in use") as caught:
            server.listen(f"tcp://127.0.0.1:{first.port}", Echo)
        assert isinstance(caught.value, ListenError)
        assert caught.value.url == f"tcp://127.0.0.1:{first.port}"
