"""Two TLS engines, or an engine and what is no TLS, joined in memory."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from itertools import pairwise

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from netwire import LocalError, RemoteError, TlsEngine, TlsError

Split = Callable[[bytes], list[bytes]]


def whole(data: bytes) -> list[bytes]:
    return [data]


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


SPLITS = pytest.mark.parametrize("split", [whole, bytewise])
AUTHORITY = trustme.CA()
SERVER = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
AUTHORITY.issue_cert("localhost").configure_cert(SERVER)
CLIENT = ssl.create_default_context()
AUTHORITY.configure_trust(CLIENT)


def engines(
    client: ssl.SSLContext = CLIENT, name: str = "localhost"
) -> tuple[TlsEngine, TlsEngine]:
    return (
        TlsEngine(client, server_side=False, server_hostname=name),
        TlsEngine(SERVER, server_side=True),
    )


def deliver(data: bytes, to: TlsEngine, split: Split = whole) -> bytes:
    return b"".join([to.receive(piece) for piece in split(data)])


def shake_hands(client: TlsEngine, server: TlsEngine, split: Split = whole) -> None:
    assert server.start() == b""
    flight = client.start()
    while flight:
        assert deliver(flight, server, split) == b""
        assert deliver(server.take_output(), client, split) == b""
        flight = client.take_output()
    assert client.handshaken
    assert server.handshaken


@pytest.fixture
def pair() -> tuple[TlsEngine, TlsEngine]:
    client, server = engines()
    shake_hands(client, server)
    return client, server


@SPLITS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_ways(split: Split, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    client, server = engines(context)
    shake_hands(client, server, split)
    assert deliver(client.encrypt(b"ping"), server, split) == b"ping"
    assert deliver(server.encrypt(b"pong"), client, split) == b"pong"
    assert deliver(client.encrypt(b""), server, split) == b""
    assert server.take_output() == client.take_output() == b""


def test_data_right_behind_the_handshake() -> None:
    client, server = engines()
    server.receive(client.start())
    client.receive(server.take_output())
    assert client.handshaken
    assert server.receive(client.take_output() + client.encrypt(b"early")) == b"early"


@settings(max_examples=25)
@given(
    sent=st.lists(st.integers(0, 70_000), max_size=5),
    cuts=st.lists(st.integers(0, 200_000), max_size=10),
)
def test_any_split_gives_the_same_bytes(sent: list[int], cuts: list[int]) -> None:
    client, server = engines()
    shake_hands(client, server)
    messages = [bytes([index + 65]) * size for index, size in enumerate(sent)]
    stream = b"".join(client.encrypt(message) for message in messages)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert b"".join(server.receive(piece) for piece in pieces) == b"".join(messages)


@SPLITS
def test_each_side_ends_its_own_stream(pair: tuple[TlsEngine, TlsEngine], split: Split) -> None:
    client, server = pair
    assert deliver(client.encrypt(b"last") + client.close(), server, split) == b"last"
    assert server.peer_closed
    assert not client.peer_closed
    assert deliver(server.encrypt(b"reply"), client, split) == b"reply"
    assert deliver(server.close(), client, split) == b""
    assert client.peer_closed
    assert client.close() == server.close() == b""
    assert client.receive(b"whatever comes after") == b""


def test_what_is_under_way_when_we_close_still_arrives(pair: tuple[TlsEngine, TlsEngine]) -> None:
    client, server = pair
    flying = server.encrypt(b"under way") + server.close()
    assert client.close() != b""
    assert client.receive(flying) == b"under way"
    assert client.peer_closed


def test_close_with_data_not_yet_read(pair: tuple[TlsEngine, TlsEngine]) -> None:
    client, server = pair
    half = server.encrypt(b"x" * 100)
    client.receive(half[:50])
    assert server.receive(client.close()) == b""
    assert server.peer_closed


def test_encrypting_needs_a_connection(pair: tuple[TlsEngine, TlsEngine]) -> None:
    fresh, _ = engines()
    with pytest.raises(LocalError, match="not up"):
        fresh.encrypt(b"x")
    assert fresh.close() == b""
    client, _ = pair
    client.close()
    with pytest.raises(LocalError, match="closed"):
        client.encrypt(b"x")


@SPLITS
@pytest.mark.parametrize("text", [b"GET / HTTP/1.1\r\n\r\n", b"15hello", b"hello"])
def test_plain_text_is_named_as_such(split: Split, text: bytes) -> None:
    _, server = engines()
    with pytest.raises(TlsError, match="plain text where TLS was expected"):
        deliver(text, server, split)


@SPLITS
def test_nonsense_fails_the_handshake(split: Split) -> None:
    _, server = engines()
    with pytest.raises(TlsError, match="TLS failed: ") as caught:
        deliver(b"\x00\xff" * 40, server, split)
    assert caught.value.close_code == 1015
    assert isinstance(caught.value, RemoteError)
    assert isinstance(caught.value.__cause__, ssl.SSLError)


@pytest.mark.parametrize(
    ("trusted", "name", "words"),
    [(True, "other.example", "Hostname mismatch"), (False, "localhost", "unable to get local")],
)
def test_a_wrong_certificate_is_refused_and_the_peer_told(
    trusted: bool, name: str, words: str
) -> None:
    context = ssl.create_default_context()
    if trusted:
        AUTHORITY.configure_trust(context)
    client, server = engines(context, name)
    server.receive(client.start())
    with pytest.raises(TlsError, match="certificate was refused: .*" + words):
        client.receive(server.take_output())
    with pytest.raises(TlsError, match=r"TLS failed: .*alert"):
        server.receive(client.take_output())


def test_the_good_records_of_a_bad_read_are_told(pair: tuple[TlsEngine, TlsEngine]) -> None:
    client, server = pair
    good = client.encrypt(b"good")
    bad = bytearray(client.encrypt(b"bad"))
    bad[-1] ^= 1
    with pytest.raises(TlsError) as caught:
        server.receive(good + bytes(bad))
    assert caught.value.received == b"good"
    assert server.take_output() != b""
    with pytest.raises(TlsError):
        server.encrypt(b"x")


def test_large_data_crosses_in_one_call(pair: tuple[TlsEngine, TlsEngine]) -> None:
    client, server = pair
    data = bytes(range(256)) * 8192
    assert server.receive(client.encrypt(data)) == data
