"""Frames by a grammar, damaged and split: our fast path and plain wsproto say the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import oracle
from fuzz.invariants import Outcome
from fuzz.oracle import UNLIMITED, plain
from fuzz.seeds import CLOSE_CODES, LENGTHS, frame
from fuzz.targets import TARGETS
from fuzz.websockets import ours
from netwire import Limits
from netwire.websocket.frames import BINARY, CLOSE, CONTINUATION, FIN, MASKED, PING, PONG, TEXT

cuts = st.lists(st.floats(0, 1), max_size=12)
sizes = st.sampled_from([0, 1, 2, 3, 124, 125, 126, 127, 1023, 1024, 1025, 65535, 65536])
masks = {True: 0, False: MASKED}  # the mask bit of what a client receives, and a server


def split(data: bytes, cuts: list[float]) -> list[bytes]:
    edges = [0, *sorted(int(cut * len(data)) for cut in cuts), len(data)]
    return [data[i:j] for i, j in pairwise(edges)]


@st.composite
def messages(draw: st.DrawFn) -> bytes | str:
    size = draw(sizes)
    if draw(st.booleans()):
        return (draw(st.binary(min_size=1, max_size=7)) * size)[:size]
    return (draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)) * size)[:size]


@st.composite
def good_streams(draw: st.DrawFn, client: bool) -> tuple[bytes, list[Outcome]]:
    """A valid stream and what it says: messages whole and in fragments, control frames between."""
    mask = masks[client]
    stream = bytearray()
    expected: list[Outcome] = []

    def control() -> None:
        if draw(st.booleans()):
            payload = draw(st.binary(max_size=125))
            opcode, name = draw(st.sampled_from([(PING, "Ping"), (PONG, "Pong")]))
            stream.extend(frame(FIN | opcode, payload, mask))
            expected.append((name, payload))

    for _ in range(draw(st.integers(1, 4))):
        control()
        message = draw(messages())
        payload = message.encode() if isinstance(message, str) else message
        opcode = TEXT if isinstance(message, str) else BINARY
        *first, last = split(payload, draw(st.lists(st.floats(0, 1), max_size=3)))
        for piece in first:
            stream += frame(opcode, piece, mask)
            opcode = CONTINUATION
            control()
        stream += frame(FIN | opcode, last, mask)
        expected.append(message)
    if draw(st.booleans()):
        stream += frame(FIN | CLOSE, b"\x03\xe8bye", mask)
        expected.append(("Closed", 1000, "bye"))
    return bytes(stream), expected


flags = st.sampled_from([FIN] * 6 + [0] * 4 + [FIN | 0x40, 0x20, FIN | 0x10])
opcodes = st.sampled_from([TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE] * 3 + list(range(16)))
payloads = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(min_size=1, max_size=4).map(lambda text: text.encode("utf-8", "ignore")[:-1]),
    st.sampled_from(CLOSE_CODES).map(lambda code: code.to_bytes(2) + b"why"),
    st.sampled_from([b"x" * 124, b"x" * 125, b"x" * 126, b"\xc3\xa9" * 70]),
)


@st.composite
def odd_streams(draw: st.DrawFn, client: bool) -> bytes:
    """Frames that are each good or bad in every field, and bytes of them changed."""
    stream = bytearray()
    for _ in range(draw(st.integers(1, 6))):
        mask = masks[client] ^ (MASKED if draw(st.integers(0, 30)) == 30 else 0)
        length, width = None, 0
        match draw(st.integers(0, 30)):
            case 29:
                length = draw(st.sampled_from(LENGTHS))
            case 30:
                width = 8
        first = draw(flags) | draw(opcodes)
        stream += frame(first, draw(payloads), mask, length=length, width=width)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(stream) - 1))
        match draw(st.integers(0, 2)):
            case 0:
                stream[at] = draw(st.integers(0, 255))
            case 1:
                stream.insert(at, draw(st.integers(0, 255)))
            case _ if len(stream) > 1:
                del stream[at]
    return bytes(stream)


@settings(deadline=None)
@given(st.data(), st.booleans(), cuts)
def test_every_split_of_a_good_stream_says_the_same(
    data: st.DataObject, client: bool, cuts: list[float]
) -> None:
    stream, expected = data.draw(good_streams(client))
    pieces = split(stream, cuts)
    assert ours(client, [stream], UNLIMITED) == expected
    assert ours(client, pieces, UNLIMITED) == expected
    assert plain(client, pieces) == expected
    if len(stream) < 3000:
        assert ours(client, [stream[i : i + 1] for i in range(len(stream))], UNLIMITED) == expected


@settings(deadline=None, max_examples=500)
@given(st.data(), st.booleans(), st.booleans(), cuts)
def test_plain_wsproto_agrees_on_any_stream(
    data: st.DataObject, client: bool, closing: bool, cuts: list[float]
) -> None:
    stream = data.draw(odd_streams(client))
    whole = oracle.padded(stream)
    expected = plain(client, [whole], closing=closing)
    for pieces in ([whole], split(whole, cuts)):
        found = ours(client, pieces, UNLIMITED, closing=closing)
        assert oracle.comparable(found) == expected
        assert plain(client, pieces, closing=closing) == expected
    short = plain(client, [stream], closing=closing)
    found = ours(client, split(stream, cuts), UNLIMITED, closing=closing)
    assert oracle.agree(found, short, complete=False)


@pytest.mark.parametrize("client", [True, False])
@pytest.mark.parametrize("size", [10, 50, 62, 63, 64, 65, 100, 3000, 4095, 4096, 4160, 6000])
def test_no_memory_is_wasted_on_a_message_that_arrives_in_bytes(client: bool, size: int) -> None:
    """62 pieces of a byte were 2 KiB, as a piece is an object of its own."""
    stream = frame(TEXT, b"x" * size, masks[client], length=10_000)
    TARGETS["websocket-client" if client else "websocket-server"](bytes(2) + stream)


@pytest.mark.parametrize("client", [True, False])
@pytest.mark.parametrize("amid", [True, False])
def test_a_fragment_out_of_place_may_end_with_its_header(client: bool, amid: bool) -> None:
    """Plain wsproto says nothing of it until there is a byte of its payload."""
    begun = frame(TEXT, b"x", masks[client]) if amid else b""
    header = frame(FIN | (TEXT if amid else CONTINUATION), b"x" * 125, masks[client])[:-125]
    stream = begun + header
    (fault,) = ours(client, [stream], UNLIMITED)
    assert oracle.comparable([fault]) == plain(client, [stream + b"x"]) == [("Failed", 1002)]
    assert oracle.agree([fault], plain(client, [stream]), complete=False)
    TARGETS["websocket-client" if client else "websocket-server"](bytes(2) + stream)


@pytest.mark.parametrize("target", TARGETS)
@settings(deadline=None)
@given(st.binary(max_size=300))
def test_a_target_finds_nothing_in_any_bytes(target: str, data: bytes) -> None:
    TARGETS[target](data)


@settings(deadline=None, max_examples=200)
@given(st.data(), st.booleans(), st.integers(0, 7), st.integers(0, 255))
def test_a_target_finds_nothing_in_any_stream(
    data: st.DataObject, client: bool, options: int, seed: int
) -> None:
    stream = data.draw(odd_streams(client))
    TARGETS["websocket-client" if client else "websocket-server"](bytes((options, seed)) + stream)


@settings(deadline=None, max_examples=200)
@given(st.data(), st.booleans(), cuts, st.integers(1, 200), st.integers(1, 4))
def test_limits_refuse_what_is_over_them_and_nothing_else(
    data: st.DataObject, client: bool, cuts: list[float], limit: int, fragments: int
) -> None:
    """The grammar knows the frames, so it knows what must be refused, and where."""
    stream = bytearray()
    expected: list[Outcome] = []
    for _ in range(data.draw(st.integers(1, 4))):
        payload = data.draw(st.binary(max_size=250))
        pieces = split(payload, data.draw(st.lists(st.floats(0, 1), max_size=4)))
        for i, piece in enumerate(pieces):
            first = (BINARY if i == 0 else CONTINUATION) | (FIN if i == len(pieces) - 1 else 0)
            stream += frame(first, piece, masks[client])
        if len(payload) > limit or len(pieces) > fragments:
            expected.append(("Failed", 1009))
            break
        expected.append(payload)
    limits = Limits(message=limit, fragments=fragments)
    found = oracle.comparable(ours(client, split(bytes(stream), cuts), limits))
    assert found == expected
