"""What a peer gets for which the Foreman has no place, at the cap and by what it has measured."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import define
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from foreman import Foreman, Infeasible
from netserver import Connection, Server, ServerConfig
from netserver.listener import MOST_TURNED_AWAY

pytestmark = pytest.mark.both_loops


class Slow(Connection):
    """Keeps its promise, and keeps its node for longer than strict ones may wait."""

    required_latency = 5.0

    def on_message(self, message: Any) -> None:
        time.sleep(0.05)
        self.send(message)


class Strict(Connection):
    required_latency = 0.01

    def on_message(self, message: Any) -> None:
        self.send(message)


@define(eq=False)
class Full:
    """One node, which is known to be too slow for strict ones."""

    server: Server
    tls: Any

    def strict(self, scheme: str, cls: type[Connection] = Strict) -> Any:
        options = {"tls": self.tls.server} if scheme in ("wss", "tls") else {}
        return self.server.listen(f"{scheme}://127.0.0.1:0", cls, **options).address

    def refused(self) -> int:
        return self.server.statistics().events.get("refused", 0)


@pytest.fixture
def full(
    loop_factory: Any, tls: Any, until: Callable[..., None], request: pytest.FixtureRequest
) -> Iterator[Full]:
    """With another deadline for the refused than the usual one where a test gives it, seconds."""
    foreman = Foreman(max_nodes=1, loop_factory=loop_factory)
    config = ServerConfig(close_timeout=getattr(request, "param", 5.0))
    with foreman, Server(foreman=foreman, config=config) as server:
        site = Full(server, tls)
        address: Any = server.listen("tcp://127.0.0.1:0", Slow).address
        probe = site.strict("tcp")
        with socket.create_connection(address, 10) as sock:
            sock.settimeout(10)

            def is_known() -> bool:
                """It works, is measured, and the next strict one is refused."""
                for _ in range(4):
                    sock.sendall(b"11x")
                    assert sock.recv(3) == b"11x"
                before = site.refused()
                with socket.create_connection(probe, 10) as attempt:
                    attempt.settimeout(10)
                    attempt.sendall(b"11x")
                    answered = attempt.recv(3) == b"11x"
                return not answered and site.refused() > before

            until(is_known, "the first refusal")
            yield site
            assert sock.fileno() >= 0
            sock.sendall(b"11x")  # nothing that was promised is broken
            assert sock.recv(3) == b"11x"
    assert not server.statistics().connections


class TestBeforeItIsOpen:
    @pytest.mark.parametrize("scheme", ["ws", "wss"])
    def test_a_websocket(self, full: Full, scheme: str) -> None:
        host, port = full.strict(scheme)
        options = {"ssl": full.tls.threaded_client} if scheme == "wss" else {}
        with pytest.raises(InvalidStatus) as refusal:
            connect(f"{scheme}://{host}:{port}", **options)
        assert refusal.value.response.status_code == 503
        assert refusal.value.response.headers["Retry-After"] == "1"

    def test_plain_http(self, full: Full) -> None:
        host, port = full.strict("ws")
        client = http.client.HTTPConnection(host, port, timeout=10)
        client.request("GET", "/health")
        response = client.getresponse()
        assert (response.status, response.read()[:7]) == (503, b"No node")
        client.close()

    def test_nonsense(self, full: Full, receive_all: Any) -> None:
        with socket.create_connection(full.strict("ws"), 10) as sock:
            sock.sendall(b"nonsense\r\n\r\n")
            assert receive_all(sock).startswith(b"HTTP/1.1 400")

    def test_a_stream(self, full: Full) -> None:
        """It ends in good order, however much the peer says: no reset."""
        with socket.create_connection(full.strict("tcp"), 10) as sock:
            sock.sendall(b"11x" * 10_000)
            assert sock.recv(1) == b""

    def test_tls(self, full: Full) -> None:
        plain = socket.create_connection(full.strict("tls"), 10)
        with full.tls.client.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
            assert sock.recv(1) == b""

    def test_bad_tls(self, full: Full, receive_all: Any) -> None:
        with socket.create_connection(full.strict("tls"), 10) as sock:
            sock.sendall(b"plain text")
            assert len(receive_all(sock)) < 10  # an alert at most

    @pytest.mark.parametrize("full", [1.0], indirect=True)
    @pytest.mark.parametrize("scheme", ["ws", "tcp", "tls"])
    def test_a_peer_that_stays_is_cut(
        self, full: Full, scheme: str, receive_all: Any, until: Any
    ) -> None:
        def is_cut() -> bool:
            try:
                sock.sendall(b"x" if scheme == "tcp" else b"")
            except OSError:
                return True
            return not any(source._turned_away for source in full.server.listeners)

        with socket.create_connection(full.strict(scheme), 10) as sock:
            sock.settimeout(10)
            assert receive_all(sock) == b""
            until(is_cut)

    @pytest.mark.parametrize("full", [1.0], indirect=True)
    def test_very_many(self, full: Full, receive_all: Any, until: Any) -> None:
        """All are closed, and no more than so many wait at a time."""
        address = full.strict("ws")
        before = full.refused()
        socks = [socket.create_connection(address, 10) for _ in range(2 * MOST_TURNED_AWAY)]
        until(lambda: full.refused() == before + len(socks))
        for sock in socks:
            with sock:
                sock.settimeout(10)
                assert receive_all(sock) == b""

    def test_the_listener_ends_meanwhile(self, full: Full, receive_all: Any, until: Any) -> None:
        before = full.refused()
        with socket.create_connection(full.strict("ws"), 10) as sock:
            until(lambda: full.refused() > before)
            for listener in full.server.listeners:
                listener.close()
            assert receive_all(sock) == b""


class TestAfterItIsOpen:
    def test_the_setter_raises(self, full: Full) -> None:
        raised: list[str] = []

        class Asking(Connection):
            def on_message(self, message: Any) -> None:
                try:
                    self.required_latency = 0.01
                except Infeasible as error:
                    raised.append(str(error))
                self.send(str(self.required_latency))

        host, port = full.strict("ws", Asking)
        with connect(f"ws://{host}:{port}") as client:
            client.send("x")
            assert client.recv(10) == "1.0"
        assert "0.01" in raised[0]

    @pytest.mark.parametrize("style", ["sync", "async"])
    def test_a_websocket_is_told_to_come_later(self, full: Full, style: str) -> None:
        class Asking(Connection):
            def on_message(self, message: Any) -> Any:
                if style == "async":
                    return self.later()
                self.required_latency = 0.01
                return None

            async def later(self) -> None:
                self.required_latency = 0.01

        host, port = full.strict("ws", Asking)
        with connect(f"ws://{host}:{port}") as client:
            client.send("x")
            with pytest.raises(ConnectionClosed):
                client.recv(10)
            assert (client.close_code, client.close_reason) == (1013, "try again later")

    def test_on_connect_that_asks_for_too_much(self, full: Full) -> None:
        class Asking(Connection):
            def on_connect(self, request: Any) -> None:
                self.required_latency = 0.01

        host, port = full.strict("ws", Asking)
        with pytest.raises(InvalidStatus) as refusal:
            connect(f"ws://{host}:{port}")
        assert refusal.value.response.status_code == 503
