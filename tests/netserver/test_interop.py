"""Clients of others and our own against our server, over every URL and framing."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from contextlib import suppress
from typing import Any

import pytest
import websockets
import wsproto
import wsproto.events as ws
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect, unix_connect
from websockets.typing import Origin, Subprotocol

from netclient import Client, blocking
from netserver import Connection, Limits, Request, Response
from netwire import Framing
from netwire.errors import ProtocolError

BIG = 300_000


class Echo(Connection):
    subprotocols = ("best", "good")

    def on_message(self, message: bytes | str) -> None:
        self.send(message)


def client_options(site: Any, scheme: str) -> dict[str, Any]:
    return {"tls": site.tls.client} if scheme in ("wss", "tls") else {}


def test_websockets_library(site: Any) -> None:
    listener = site.listen("ws://127.0.0.1:0", Echo)
    url = site.url(listener) + "/chat?room=1"
    offered = [Subprotocol("good"), Subprotocol("best")]
    messages: list[Any] = ["text ü", "", b"", b"x" * BIG, "ü" * BIG]
    with connect(url, subprotocols=offered, origin=Origin("http://o")) as client:
        for message in messages:
            client.send(message)
            assert client.recv() == message
        client.send([b"in ", b"three ", b"frames"])
        assert client.recv() == b"in three frames"
        client.send(iter(["in ", "three ", "frames ü"]))
        assert client.recv() == "in three frames ü"
        assert client.ping(b"x").wait(10)
        assert client.subprotocol == "best"
        assert not client.protocol.extensions  # compression was offered, and declined
        connection = site.journal.named("open")[0][1]
        request: Request = connection.request
        assert (request.path, request.query) == ("/chat", {"room": ["1"]})
        assert request.headers["ORIGIN"] == "http://o"
        assert connection.subprotocol == "best"
        assert connection.local_address == ("127.0.0.1", listener.port)
        assert connection.remote_address == client.local_address
        assert str(connection.remote_address) in repr(connection)
    assert site.journal.until("close")[0][2] == 1000


def test_a_server_that_pings(site: Any) -> None:
    class Pinging(Echo):
        def on_open(self) -> None:
            self.ping(b"are you there")

    with connect(site.url(site.listen("ws://127.0.0.1:0", Pinging))) as client:
        client.send(b"x")
        assert client.recv() == b"x"
        site.journal.named("open")[0][1].ping()
        client.send(b"y")
        assert client.recv() == b"y"


async def test_websockets_asyncio_over_tls(site: Any) -> None:
    listener = site.listen("wss://127.0.0.1:0", Echo)
    async with websockets.connect(site.url(listener), ssl=site.tls.client) as client:
        messages: list[Any] = ["a" * 70_000, b"b" * BIG, "c"] * 10
        for message in messages:
            await client.send(message)
        assert [await client.recv() for _ in messages] == messages


def test_websockets_on_a_unix_socket(site: Any, place: Any) -> None:
    listener = site.listen(place("ws+unix"), Echo)
    with unix_connect(listener.address) as client:
        client.send("x")
        assert client.recv() == "x"


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_aiohttp(site: Any, scheme: str, aiohttp_session: Any) -> None:
    listener = site.listen(f"{scheme}://127.0.0.1:0", Echo)
    async with (
        aiohttp_session() as session,
        session.ws_connect(
            site.url(listener), ssl=site.tls.client, compress=15, protocols=("good",)
        ) as client,
    ):
        assert client.compress == 0
        assert client.protocol == "good"
        await client.send_str("text ü")
        assert await client.receive_str() == "text ü"
        await client.send_bytes(b"x" * BIG)
        assert await client.receive_bytes() == b"x" * BIG
        await client.ping(b"x")
        await client.close(code=4000, message=b"bye")
    assert site.journal.until("close")[0][2:] == (4000, "bye")


def test_wsproto(site: Any) -> None:
    listener = site.listen("ws://127.0.0.1:0", Echo)
    protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    with site.dial(listener, protocol.send(ws.Request(host="x", target="/"))) as sock:
        events: list[ws.Event] = []

        def next_event() -> ws.Event:
            while not events:
                protocol.receive_data(sock.recv(65536) or None)
                events.extend(protocol.events())
            return events.pop(0)

        assert isinstance(next_event(), ws.AcceptConnection)
        first = protocol.send(ws.BytesMessage(b"a", message_finished=False))
        ping = protocol.send(ws.Ping(b"between"))
        last = protocol.send(ws.BytesMessage(b"b"))
        for byte in first + ping + last:
            sock.sendall(bytes([byte]))
        pong = next_event()
        assert isinstance(pong, ws.Pong)
        assert pong.payload == b"between"
        echoed = next_event()
        assert isinstance(echoed, ws.BytesMessage)
        assert echoed.data == b"ab"
        sock.sendall(protocol.send(ws.CloseConnection(3999, "done")))
        answer = next_event()
        assert isinstance(answer, ws.CloseConnection)
        assert answer.code == 3999
        assert sock.recv(1) == b""
    assert site.journal.until("close")[0][2:] == (3999, "done")


@pytest.mark.both_loops
@pytest.mark.parametrize("scheme", ["ws", "wss", "tcp", "tls", "unix", "ws+unix"])
def test_our_blocking_client(site: Any, scheme: str, place: Any) -> None:
    listener = site.listen(place(scheme), Echo)
    with blocking.Client(site.url(listener), **client_options(site, scheme)) as client:
        for size in (0, 1, 125, 126, 65_535, 65_536, BIG):
            client.send(b"x" * size)
            assert client.recv(10) == b"x" * size


@pytest.mark.parametrize("scheme", ["ws", "wss", "tcp", "tls", "unix", "ws+unix"])
async def test_our_asyncio_client(site: Any, scheme: str, place: Any) -> None:
    listener = site.listen(place(scheme), Echo)
    async with Client(site.url(listener), **client_options(site, scheme)) as client:
        for number in range(100):
            await client.send(b"%d" % number)
        for number in range(100):
            assert await client.recv(10) == b"%d" % number


class Caesar:
    """A transform with state: each message is shifted by one more than the one before."""

    def __init__(self) -> None:
        self._sent = self._received = 0

    def outgoing(self, message: bytes | str) -> bytes:
        self._sent += 1
        data = message.encode() if isinstance(message, str) else message
        return b"!" + bytes((byte + self._sent) % 256 for byte in data)

    def incoming(self, message: bytes | str) -> bytes:
        assert isinstance(message, bytes)
        if not message.startswith(b"!"):
            raise ValueError("not of ours")
        self._received += 1
        return bytes((byte - self._received) % 256 for byte in message[1:])


class Tagged(Framing):
    """A framing of a user's own: a tag, one byte of length, the payload."""

    __slots__ = ()

    def decode(self, data: bytes, into: list[bytes]) -> None:
        data = self.resume(data) if self.mid_message else data
        while data:
            if data[0] != 0xAA:
                raise ProtocolError("no tag")
            if len(data) < 2 or len(data) < 2 + data[1]:
                self.keep(data, len(data) + 1)
                return
            into.append(data[2 : 2 + data[1]])
            data = data[2 + data[1] :]

    def encode_payload(self, payload: bytes) -> bytes:
        if len(payload) > 255:
            raise ValueError("too long for one byte")
        return bytes((0xAA, len(payload))) + payload


FRAMED = {
    "envelope": (b"15hello10", b"15hello10"),
    "length-prefix": (struct.pack(">I", 5) + b"hello", struct.pack(">I", 5) + b"hello"),
    "lines": (b"hello\r\nworld\n\n", b"hello\nworld\n\n"),
    "raw": (b"anything", b"anything"),
    Tagged: (b"\xaa\x05hello\xaa\x00", b"\xaa\x05hello\xaa\x00"),
}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(("framing", "said"), FRAMED.items(), ids=map(str, range(len(FRAMED))))
def test_framings(
    site: Any, framing: Any, said: tuple[bytes, bytes], secure: bool, receive: Any
) -> None:
    scheme = "tls" if secure else "tcp"
    listener = site.listen(f"{scheme}://127.0.0.1:0", Echo, framing=framing)
    with site.dial(listener, said[0]) as sock:
        assert receive(sock, len(said[1])) == said[1]
    with blocking.Client(site.url(listener), framing=framing, **client_options(site, scheme)) as c:
        c.send(b"hello")
        assert c.recv(10) == b"hello"


@pytest.mark.parametrize("scheme", ["ws", "wss", "tcp", "tls"])
def test_transforms(site: Any, scheme: str) -> None:
    listener = site.listen(f"{scheme}://127.0.0.1:0", Echo, transform=Caesar)
    options = client_options(site, scheme)
    with (
        blocking.Client(site.url(listener), transform=Caesar, **options) as one,
        blocking.Client(site.url(listener), transform=Caesar, **options) as two,
    ):
        for number in range(5):
            for client in (one, two):
                client.send(b"%d" % number)
                assert client.recv(10) == b"%d" % number
        assert site.server.broadcast(b"all") == 2
        assert [client.recv(10) for client in (one, two)] == [b"all", b"all"]
    with blocking.Client(site.url(listener), reconnect=None, **options) as strange:
        strange.send(b"in clear")
        assert site.journal.until("close", 3)[2][2] == 1007


class TestBadWebSockets:
    @pytest.mark.parametrize("size", [1001, 70_000, 5_000_000])
    @pytest.mark.parametrize("secure", [False, True])
    def test_over_the_limit(self, site: Any, size: int, secure: bool) -> None:
        scheme = "wss" if secure else "ws"
        listener = site.listen(f"{scheme}://127.0.0.1:0", Echo, limits=Limits(message=1000))
        context = site.tls.threaded_client if secure else None
        with connect(site.url(listener), ssl=context) as client:
            client.send(b"x" * 1000)
            assert client.recv() == b"x" * 1000
            with suppress(ConnectionClosed):  # it may learn of it while it sends
                client.send(b"x" * size)
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(10)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1009
        assert site.journal.until("close")[0][2] == 1009

    def test_fragments_over_the_limit(self, site: Any) -> None:
        listener = site.listen("ws://127.0.0.1:0", Echo, limits=Limits(message=1000))
        with connect(site.url(listener)) as client:
            with suppress(ConnectionClosed):
                client.send([b"x" * 600, b"y" * 600])
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(10)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1009

    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            (b"\x81\x82\0\0\0\0\xff\xff", 1007),
            (b"\x82\x01x", 1002),  # not masked
            (b"\x83\x80\0\0\0\0", 1002),  # no such opcode
            (b"\xc2\x80\0\0\0\0", 1002),  # compressed, though that was declined
            (b"\x80\x80\0\0\0\0", 1002),  # continues nothing
            (b"\x89\xfe\x00\x7e\0\0\0\0", 1002),  # a ping too long
            (b"\x88\x82\0\0\0\0\x03\xed", 1002),  # closes with 1005
        ],
    )
    def test_frames(self, site: Any, frame: bytes, code: int, receive_all: Any) -> None:
        other, _ = site.open(site.listen("tcp://127.0.0.1:0", Echo))
        with site.dial(site.listen("ws://127.0.0.1:0", Echo), HANDSHAKE) as sock:
            site.journal.until("open", 2)
            sock.sendall(frame)
            answer = receive_all(sock).partition(b"\r\n\r\n")[2]
            assert answer[0] == 0x88
            assert int.from_bytes(answer[2:4]) == code
        assert site.journal.until("close")[0][2] == code
        with other:
            other.sendall(b"12hi")
            assert other.recv(10) == b"12hi"


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class TestNoHandshake:
    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (HANDSHAKE.replace(b"GET", b"POST"), 405),
            (HANDSHAKE.replace(b": 13", b": 12"), 426),
            (HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
            (HANDSHAKE.replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
            (HANDSHAKE.replace(b"AAAA==", b"===="), 400),
            (HANDSHAKE.replace(b"Host: x", b"X: x"), 400),
            (HANDSHAKE.replace(b"Host: x", b"X: " + b"x" * 20_000), 431),
            (HANDSHAKE.replace(b"Host: x", b"Host: x" + b"\r\nX: y" * 101), 431),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426),
            (b"complete nonsense\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
        ],
    )
    def test_is_answered_as_http_would(
        self, site: Any, head: bytes, status: int, receive_all: Any
    ) -> None:
        with site.dial(site.listen("ws://127.0.0.1:0", Echo), head) as sock:
            answer = receive_all(sock)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"Connection: close" in answer
        assert not site.journal.named("open")

    def test_a_plain_request_has_an_answer(
        self, site: Any, monkeypatch: pytest.MonkeyPatch, receive_all: Any
    ) -> None:
        def on_request(request: Request) -> Response | None:
            if request.path == "/broken":
                raise RuntimeError("as the test wants")
            if request.path == "/big":
                return Response(200, b"x" * 1_000_000)
            return Response(200, "well") if request.path == "/health" else None

        monkeypatch.setattr(site.server, "on_request", on_request)
        listener = site.listen("ws://127.0.0.1:0", Echo)

        def get(path: str) -> bytes:
            with site.dial(listener, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) as sock:
                sock.shutdown(socket.SHUT_WR)
                answer: bytes = receive_all(sock)
                return answer

        assert get("/health").endswith(b"\r\n\r\nwell")
        assert get("/other").startswith(b"HTTP/1.1 426 ")
        assert get("/broken").startswith(b"HTTP/1.1 500 ")
        assert get("/big").endswith(b"x" * 1_000_000)

    async def test_aiohttp_gets_it(self, site: Any, aiohttp_session: Any) -> None:
        listener = site.listen("wss://127.0.0.1:0", Echo)
        async with aiohttp_session() as session:
            url = f"https://127.0.0.1:{listener.port}/"
            async with session.get(url, ssl=site.tls.client) as response:
                assert response.status == 426
                assert "WebSocket" in await response.text()


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"015hello",
        b"205hello",
        b"1x",
        b"\x00",
        b"0",
        b"3099" + b"x" * 99,
        b"-1",
        b"41001",
    ],
)
def test_malformed_envelopes(site: Any, data: bytes, receive_all: Any) -> None:
    listener = site.listen("tcp://127.0.0.1:0", Echo, limits=Limits(message=1000))
    other, _ = site.open(listener)
    with site.dial(listener, b"12hi" + data) as sock:
        assert receive_all(sock) in (b"12hi", b"")
    (_, connection, code, reason) = site.journal.until("close")[0]
    assert code in (1002, 1009)
    assert reason
    (_, failed, error) = site.journal.named("error")[0]
    assert failed is connection
    assert error.close_code == code
    with other:
        other.sendall(b"12hi")
        assert other.recv(10) == b"12hi"


def test_a_payload_over_the_limit_is_refused_from_its_header(site: Any, receive_all: Any) -> None:
    listener = site.listen("tcp://127.0.0.1:0", Echo)
    with site.dial(listener, b"9999999999") as sock:
        assert receive_all(sock) == b""
    assert site.journal.until("close")[0][2] == 1009


def test_plain_text_where_tls_is_wanted(site: Any, receive_all: Any) -> None:
    listener = site.listen("wss://127.0.0.1:0", Echo)
    address: Any = listener.address
    with socket.create_connection(address, 10) as sock:
        sock.sendall(HANDSHAKE)
        receive_all(sock)
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(
            stray := socket.create_connection(address, 10), server_hostname="127.0.0.1"
        )
    stray.close()
    assert not site.journal.named("open")
    assert asyncio.run(_echo_over_tls(site, listener))


async def _echo_over_tls(site: Any, listener: Any) -> bool:
    async with websockets.connect(site.url(listener), ssl=site.tls.client) as client:
        await client.send("x")
        return await client.recv() == "x"
