"""Compressed messages, in both clients: against a real peer, and against one that corrupts them."""

from __future__ import annotations

import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from attrs import evolve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.sync.server import ServerConnection, serve
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from benchmark.load.client import Corrupt, LoadClient, LoadError, Mismatch
from benchmark.load.deflate import TAIL, Inflater, Negotiated, compress_all
from benchmark.load.plan import Plan
from benchmark.load.run import open_client, run
from benchmark.load.stream import build_text_streams, json_text

SIZE = 1024


@pytest.fixture(params=["c", "python"])
def plan(request: pytest.FixtureRequest, library: str | None) -> Plan:
    """A short plan for either client; the URL is to be filled in."""
    if request.param == "c" and library is None:
        pytest.skip("there is no C compiler, or no epoll")
    return Plan(
        url="ws://",
        connections=10,  # more than there are rings
        size=SIZE,
        deflate=True,
        warmup=0.0,
        seconds=0.2,
        library=library if request.param == "c" else None,
    )


def ignore_progress(_seconds: float, _messages: int) -> None:
    pass


@contextmanager
def echoing(**options: Any) -> Iterator[str]:
    """websockets' own server, that echoes."""

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            assert isinstance(message, str)
            connection.send(message)

    with serve(echo, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.parametrize(
    "factory",
    [
        ServerPerMessageDeflateFactory(),
        ServerPerMessageDeflateFactory(server_no_context_takeover=True),
        ServerPerMessageDeflateFactory(client_no_context_takeover=True),
        ServerPerMessageDeflateFactory(server_max_window_bits=9, client_max_window_bits=10),
    ],
    ids=["takeover", "server-none", "client-none", "windows"],
)
@pytest.mark.parametrize("in_flight", [1, 100])
def test_a_real_peer_echoes(
    plan: Plan, factory: ServerPerMessageDeflateFactory, in_flight: int
) -> None:
    with echoing(compression=None, extensions=[factory]) as url:
        result = run(evolve(plan, url=url, in_flight=in_flight), ignore_progress)
    assert result.messages > 0
    assert result.client == ("c" if plan.library else "python")
    assert result.negotiated is not None
    assert result.negotiated.startswith("permessage-deflate")


def test_a_peer_without_compression_is_reported(plan: Plan) -> None:
    with (
        echoing(compression=None) as url,
        pytest.raises(LoadError, match="did not agree on permessage-deflate"),
    ):
        run(evolve(plan, url=url), ignore_progress)


def test_replies_may_be_fragmented_and_uncompressed(plan: Plan) -> None:
    def split(payload: bytes, number: int) -> bytes:
        if number % 2:
            return frame(0x81, payload)
        packed = compress(payload)
        pieces = frame(0x41, packed[:10]), frame(0x00, b""), frame(0x80, packed[10:])
        return b"".join(pieces)

    with replying(split) as url:
        client = open_client(evolve(plan, url=url, connections=1))
        exchange(client, 20)


def no_text(payload: bytes, _number: int) -> bytes:
    return frame(0xC2, compress(payload))


def masked(payload: bytes, _number: int) -> bytes:
    reply = bytearray(frame(0xC1, compress(payload)))
    reply[1] |= 0x80
    return bytes(reply)


def one_byte_other(payload: bytes, number: int) -> bytes:
    other = bytearray(payload)
    if number == 7:
        other[500] ^= 1
    return frame(0xC1, compress(bytes(other)))


def too_short(payload: bytes, _number: int) -> bytes:
    return frame(0xC1, compress(payload[:-1]))


def too_long(payload: bytes, _number: int) -> bytes:
    return frame(0xC1, compress(payload + b"\x00"))


def garbled(_payload: bytes, _number: int) -> bytes:
    return frame(0xC1, b"\xff" * 30)


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (no_text, Mismatch, "reply 0: byte 0 is 0xc2 and not 0xc1"),
        (masked, Mismatch, "reply 0: byte 1 is 0x"),
        (one_byte_other, Mismatch, "reply 7: byte 500 is"),
        (too_short, Corrupt, "reply 0"),
        (too_long, LoadError, "connection 0"),
        (garbled, Corrupt, "reply 0: it cannot be inflated"),
    ],
)
def test_what_is_wrong_is_reported(
    plan: Plan, answer: Any, error: type[LoadError], says: str
) -> None:
    with replying(answer) as url:
        client = open_client(evolve(plan, url=url, connections=1))
        with pytest.raises(error, match=says):
            exchange(client, 20)


def exchange(client: LoadClient, messages: int) -> None:
    """Run until so many messages went round; close whatever comes."""
    deadline = time.monotonic() + 30
    try:
        while client.messages < messages:
            assert time.monotonic() < deadline
            client.run(time.monotonic_ns() + 10_000_000)
    finally:
        client.close()


def compress(payload: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def frame(first: int, payload: bytes) -> bytes:
    if len(payload) < 126:
        return struct.pack("!BB", first, len(payload)) + payload
    return struct.pack("!BBH", first, 126, len(payload)) + payload


@contextmanager
def replying(answer: Any) -> Iterator[str]:
    """A server that makes of each message's payload whatever `answer` says, on one connection."""

    def talk(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with sock:
            websocket = WSConnection(ConnectionType.SERVER)
            number = 0
            while data := sock.recv(65536):
                websocket.receive_data(data)
                for event in websocket.events():
                    if isinstance(event, Request):
                        accept = AcceptConnection(extensions=[PerMessageDeflate()])
                        sock.sendall(websocket.send(accept))
                    elif isinstance(event, TextMessage):
                        assert event.message_finished
                        sock.sendall(answer(event.data.encode(), number))
                        number += 1
                    else:
                        return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, args=(listener,))
        thread.start()
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join(10)
            assert not thread.is_alive()


def test_requests_can_be_sent_again_from_the_first_on() -> None:
    negotiated = Negotiated(answer="", client_bits=15, client_takeover=True, server_takeover=True)
    random = Random(1)
    payloads = [json_text(random, SIZE) for _ in range(5)]
    inflater = Inflater(takeover=True, size=SIZE)
    for _ in range(3):
        for payload, packed in zip(payloads, compress_all(payloads, negotiated), strict=True):
            assert list(inflater.receive(frame(0xC1, packed))) == [payload]
    alone = compress_all(payloads, evolve(negotiated, client_takeover=False))
    assert sum(map(len, compress_all(payloads, negotiated))) < sum(map(len, alone))


def test_rings_differ() -> None:
    negotiated = Negotiated(answer="", client_bits=15, client_takeover=True, server_takeover=True)
    streams = build_text_streams(SIZE, negotiated)
    assert len({stream.reply for stream in streams}) == len(streams) > 1
    assert all(len(stream.reply) == stream.frames * SIZE for stream in streams)
    assert streams[0].start(0) == 0
    assert streams[0].start(2 * streams[0].frames) == 2 * len(streams[0].request)
