"""TLS in both clients, and handshakes over and over, against a real peer."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from attrs import evolve, frozen
from websockets.sync.server import ServerConnection, serve

from benchmark import workspace
from benchmark.errors import BenchmarkError
from benchmark.load import library as library_module
from benchmark.load.client import ConnectionLost, LoadError, Mismatch, Stalled
from benchmark.load.plan import Plan
from benchmark.load.run import open_client, run
from benchmark.load.stream import build_stream

StartServer = Callable[[Callable[[socket.socket, bytes], None]], str]


@frozen
class Certificates:
    """A server's TLS, and the file of whom to trust."""

    context: ssl.SSLContext
    authority: str


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    path = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return Certificates(context, str(path))


@pytest.fixture(params=["c", "python"])
def plan(request: pytest.FixtureRequest, library: str | None, certificates: Certificates) -> Plan:
    """A short plan for either client; the URL is to be filled in."""
    if request.param == "c" and library is None:
        pytest.skip("there is no C compiler, or no epoll")
    return Plan(
        url="wss://",
        connections=3,
        warmup=0.0,
        seconds=0.2,
        certificate=certificates.authority,
        library=library if request.param == "c" else None,
    )


@pytest.fixture
def dial(library: str | None) -> Plan:
    if library is None:
        pytest.skip("there is no C compiler, or no epoll")
    return Plan(
        url="ws://", connections=4, handshakes=True, warmup=0.0, seconds=0.3, library=library
    )


def ignore_progress(_seconds: float, _messages: int) -> None:
    pass


@contextmanager
def echoing(context: ssl.SSLContext | None) -> Iterator[str]:
    """websockets' own server, that echoes."""

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0, ssl=context, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            scheme = "ws" if context is None else "wss"
            yield f"{scheme}://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.parametrize(("in_flight", "size"), [(1, 128), (16, 128), (2, 100_000)])
def test_a_real_peer_echoes(
    plan: Plan, certificates: Certificates, in_flight: int, size: int
) -> None:
    with echoing(certificates.context) as url:
        result = run(evolve(plan, url=url, in_flight=in_flight, size=size), ignore_progress)
    assert result.messages > 0
    assert result.client == ("c" if plan.library else "python")


@contextmanager
def secured(context: ssl.SSLContext, answer: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """A TLS server for one connection; it ends the connection where there is no answer."""

    def talk(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with suppress(OSError), context.wrap_socket(sock, server_side=True) as channel:
            while data := channel.recv(65536):
                reply = answer(data)
                if reply is None:
                    return
                channel.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, args=(listener,))
        thread.start()
        try:
            yield f"tls://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join(10)
            assert not thread.is_alive()


def test_wrong_bytes_are_reported(plan: Plan, certificates: Certificates) -> None:
    frame = build_stream("tls", 128).reply_size
    position = 0

    def corrupt(data: bytes) -> bytes:
        nonlocal position
        reply = bytearray(data)
        at = 19 * frame + 50 - position  # in the twentieth reply
        if 0 <= at < len(reply):
            reply[at] ^= 1
        position += len(data)
        return bytes(reply)

    with (
        secured(certificates.context, corrupt) as url,
        pytest.raises(Mismatch, match="connection 0, reply 19: byte 50 is"),
    ):
        run(evolve(plan, url=url, connections=1, seconds=20.0), ignore_progress)


def test_a_server_that_hangs_up_is_reported(plan: Plan, certificates: Certificates) -> None:
    with (
        secured(certificates.context, lambda _data: None) as url,
        pytest.raises(ConnectionLost, match="connection 0 ended after 0 replies"),
    ):
        run(evolve(plan, url=url, connections=1, seconds=20.0), ignore_progress)


def test_a_server_that_nobody_vouches_for_is_refused(
    plan: Plan, certificates: Certificates, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with (
        secured(certificates.context, lambda data: data) as url,
        pytest.raises(LoadError, match=r"connection 0 to tls://.*certificate"),
    ):
        open_client(evolve(plan, url=url, certificate=str(other)))


@pytest.mark.parametrize("tls", [False, True])
def test_handshakes_go_on_and_on(dial: Plan, certificates: Certificates, tls: bool) -> None:
    with echoing(certificates.context if tls else None) as url:
        plan = evolve(dial, url=url, certificate=certificates.authority if tls else None)
        result = run(plan, ignore_progress)
    assert result.messages > plan.connections
    assert result.histogram.total >= result.messages
    assert result.client == "c"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
        b"x" * 5000,
    ],
)
def test_a_refused_handshake_is_reported(
    dial: Plan, start_server: StartServer, answer: bytes
) -> None:
    url = start_server(lambda connection, _data: connection.sendall(answer))
    with pytest.raises(ConnectionLost, match="ended after 0 replies: Protocol error"):
        run(evolve(dial, url=url.replace("tcp", "ws"), seconds=20.0), ignore_progress)


def test_a_server_that_never_answers_a_handshake_is_reported(
    dial: Plan, start_server: StartServer
) -> None:
    url = start_server(lambda _connection, _data: None).replace("tcp", "ws")
    with pytest.raises(Stalled):
        run(evolve(dial, url=url, seconds=20.0, stall=0.3), ignore_progress)


def test_handshakes_are_for_c_and_websocket(dial: Plan) -> None:
    for plan in (evolve(dial, library=None), evolve(dial, url="tcp://127.0.0.1:1")):
        with pytest.raises(LoadError, match="handshakes need"):
            open_client(plan)


def test_without_headers_it_is_compiled_without_what_needs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str | None
) -> None:
    if library is None:
        pytest.skip("there is no C compiler, or no epoll")
    monkeypatch.setattr(library_module, "_has_header", lambda _compiler, _header: False)
    found = library_module.compile_library(tmp_path)
    assert found is not None
    assert (found.tls, found.deflate) == (False, False)
    assert found.obstacle(tls=False, deflate=False) is None
    assert "apt-get install libssl-dev" in str(found.obstacle(tls=True, deflate=False))
    assert "apt-get install zlib1g-dev" in str(found.obstacle(tls=False, deflate=True))
    plain = Plan(url="tcp://127.0.0.1:1", connections=1, library=str(found.path))
    with pytest.raises(LoadError, match="connection 0 to tcp://127"):
        open_client(plain)
    monkeypatch.setattr(workspace, "compiled_library", lambda: found)
    with workspace.open_workspace("wss", "auto") as opened:
        assert opened.library is None
        assert opened.library_for("ws") == str(found.path)
        assert opened.library_for("ws", deflate=True) is None
    with (
        pytest.raises(BenchmarkError, match="libssl-dev"),
        workspace.open_workspace("wss", "c"),
    ):
        pytest.fail("it opened")
