"""What every framing must do: ours, and one of a user's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from netwire import (
    Closed,
    ConnectionLost,
    Event,
    Failed,
    Framing,
    InvalidPayload,
    Limits,
    LocalError,
    Message,
    MessageTooBig,
    ProtocolError,
    RemoteError,
    Response,
    State,
)
from netwire.framing import Envelope, LengthPrefix, Lines, Raw

LIMIT = 40


class Semicolons(Framing):
    """A user's own framing: fields that end with a semicolon and hold none."""

    __slots__ = ()

    def decode(self, data: bytes, into: list[bytes]) -> None:
        *whole, rest = self.resume(data).split(b";")
        for message in whole:
            self._check(message)
            into.append(message)
        self._check(rest)
        if rest:
            self.keep(rest, 0)

    def _check(self, message: bytes) -> None:
        if len(message) > self.limits.message:
            raise MessageTooBig(self.limits.message + 1, self.limits.message)
        if b"!" in message:
            raise ProtocolError("an exclamation mark")

    def encode_payload(self, payload: bytes) -> bytes:
        return payload + b";"


class Mask:
    """A transform that hides the payload and notices when it was changed on the way."""

    def outgoing(self, message: Message) -> Message:
        plain = message.encode() if isinstance(message, str) else message
        return bytes(byte ^ 0x55 for byte in plain) + b"ok"

    def incoming(self, message: Message) -> Message:
        assert isinstance(message, bytes)
        if not message.endswith(b"ok"):
            raise ValueError("secret text")
        return bytes(byte ^ 0x55 for byte in message[:-2])


@frozen
class Case:
    """One framing, and what the suite has to know about it."""

    framing: type[Framing]
    payload: str = "any bytes"
    partial: bytes = b""

    def payloads(self) -> st.SearchStrategy[bytes]:
        if self.payload == "any bytes":
            return st.binary(max_size=LIMIT)
        return st.text("abc XYZ019", max_size=LIMIT).map(str.encode)


CASES = [
    Case(Envelope, partial=b"15hell"),
    Case(LengthPrefix, partial=b"\0\0\0\5hell"),
    Case(Lines, payload="text", partial=b"hell"),
    Case(Semicolons, payload="text", partial=b"hell"),
]
every_framing = pytest.mark.parametrize("case", CASES, ids=lambda case: case.framing.__name__)


def feed(wire: Framing, pieces: Iterable[bytes]) -> list[Event]:
    events: list[Event] = []
    for piece in pieces:
        events += wire.receive(piece)
    return events


def plain(events: Iterable[Event]) -> list[object]:
    """Events as values that compare: two errors are equal when they say the same."""
    return [
        (type(event.error), str(event.error)) if isinstance(event, Failed) else event
        for event in events
    ]


def bytewise(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


def cut(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


def the_failure(events: list[Event]) -> RemoteError:
    (event,) = [event for event in events if isinstance(event, Failed)]
    assert event is events[-1]
    assert event.reply == b""
    return event.error


@every_framing
@pytest.mark.parametrize("split", [lambda stream: [stream], bytewise], ids=["whole", "bytewise"])
def test_messages_arrive_whole_and_in_order(
    case: Case, split: Callable[[bytes], list[bytes]]
) -> None:
    wire = case.framing(Limits(message=LIMIT))
    sent = [b"hello", b"", b"a" * LIMIT, b"end"]
    stream = b"".join(wire.encode(message) for message in sent)
    assert feed(wire, split(stream)) == sent
    assert not wire.mid_message


@every_framing
@given(data=st.data())
def test_any_split_gives_the_same_messages(case: Case, data: st.DataObject) -> None:
    sent = data.draw(st.lists(case.payloads(), max_size=8))
    wire = case.framing(Limits(message=LIMIT))
    stream = b"".join(wire.encode(message) for message in sent)
    cuts = data.draw(st.lists(st.integers(0, 500), max_size=12))
    assert feed(wire, cut(stream, cuts)) == sent
    assert wire.receive_eof() == [Closed(1000, "", b"")]


@every_framing
@given(
    stream=st.one_of(
        st.binary(max_size=120), st.text("0123;!\r\n ab", max_size=120).map(str.encode)
    ),
    cuts=st.lists(st.integers(0, 120), max_size=6),
)
def test_any_bytes_give_the_same_events_whole_and_split(
    case: Case, stream: bytes, cuts: list[int]
) -> None:
    results = []
    for pieces in ([stream], bytewise(stream), cut(stream, cuts)):
        wire = case.framing(Limits(message=LIMIT))
        events = feed(wire, pieces)
        results.append(plain(events + wire.receive_eof()))
    assert results[0] == results[1] == results[2]


@every_framing
def test_trailing_data_waits_for_its_rest(case: Case) -> None:
    wire = case.framing()
    assert wire.receive(wire.encode(b"whole") + case.partial) == [b"whole"]
    assert wire.mid_message
    rest = wire.encode(b"hello")[len(case.partial) :]
    assert wire.receive(rest + wire.encode(b"next")) == [b"hello", b"next"]


@every_framing
def test_end_of_stream_between_messages_closes(case: Case) -> None:
    wire = case.framing()
    wire.receive(wire.encode(b"whole"))
    assert wire.receive_eof() == [Closed(1000, "", b"")]
    assert wire.state is State.CLOSED
    assert wire.receive_eof() == []


@every_framing
def test_end_of_stream_in_mid_message_fails(case: Case) -> None:
    wire = case.framing()
    wire.receive(case.partial)
    assert isinstance(the_failure(wire.receive_eof()), ConnectionLost)
    assert wire.state is State.CLOSED
    assert not wire.mid_message


@every_framing
@pytest.mark.parametrize("split", [lambda stream: [stream], bytewise], ids=["whole", "bytewise"])
@pytest.mark.parametrize(("size", "taken"), [(LIMIT - 1, True), (LIMIT, True), (LIMIT + 1, False)])
def test_limit(case: Case, split: Callable[[bytes], list[bytes]], size: int, taken: bool) -> None:
    sender, wire = case.framing(), case.framing(Limits(message=LIMIT))
    stream = sender.encode(b"first") + sender.encode(b"x" * size)
    events = feed(wire, split(stream))
    assert events[0] == b"first"
    if taken:
        assert events[1:] == [b"x" * size]
        return
    error = the_failure(events)
    assert isinstance(error, MessageTooBig)
    assert (error.limit, error.size, error.close_code) == (LIMIT, LIMIT + 1, 1009)
    assert wire.state is State.CLOSED
    assert feed(wire, split(stream)) == []


@every_framing
def test_text_is_sent_as_utf8_and_arrives_as_bytes(case: Case) -> None:
    wire = case.framing()
    assert wire.receive(wire.encode("grün")) == ["grün".encode()]


@every_framing
@pytest.mark.parametrize("message", [None, 5, bytearray(b"x"), memoryview(b"x"), ["x"]])
@pytest.mark.parametrize("transform", [None, Mask()], ids=["plain", "transform"])
def test_other_types_are_refused(case: Case, message: object, transform: Mask | None) -> None:
    wire = case.framing(transform=transform)
    name = type(message).__name__
    with pytest.raises(TypeError, match=f"a message is bytes or str, not {name}"):
        wire.encode(message)  # type: ignore[arg-type]


@every_framing
def test_a_closed_wire_neither_sends_nor_hears(case: Case) -> None:
    wire = case.framing()
    stream = wire.encode(b"hello")
    assert wire.close(1001, "bye") == b""
    assert wire.state is State.CLOSED
    assert wire.receive(stream) == []
    assert wire.receive_eof() == []
    with pytest.raises(LocalError):
        wire.encode(b"hello")


@every_framing
def test_there_is_no_handshake(case: Case) -> None:
    wire = case.framing()
    assert wire.state is State.OPEN
    assert wire.start() == b""
    assert wire.ping(b"x") == b""
    assert wire.receive(b"") == []
    assert wire.accept() == b""
    assert wire.state is State.OPEN
    assert wire.respond(Response(404)) == b""
    with pytest.raises(LocalError):
        wire.encode(b"x")


@every_framing
def test_a_transform_changes_what_travels(case: Case) -> None:
    wire = case.framing(Limits(message=LIMIT), transform=Mask())
    stream = wire.encode(b"hello") + wire.encode("world")
    assert b"hello" not in stream
    assert feed(wire, bytewise(stream)) == [b"hello", b"world"]


@every_framing
def test_a_transform_that_refuses_fails_the_wire(case: Case) -> None:
    wire = case.framing(transform=Mask())
    good, bad = wire.encode(b"hello"), case.framing().encode(b"forged")
    events = wire.receive(good + bad + good)
    assert events[0] == b"hello"
    error = the_failure(events)
    assert isinstance(error, InvalidPayload)
    assert isinstance(error.__cause__, ValueError)
    assert "secret" not in str(error)
    assert len(events) == 2


@every_framing
def test_equal_keys_mean_equal_bytes(case: Case) -> None:
    assert case.framing().encoding_key == case.framing(Limits(message=1)).encoding_key
    assert case.framing(transform=Mask()).encoding_key is None
    keys = {other.framing().encoding_key for other in CASES}
    assert len(keys) == len(CASES)


@given(chunks=st.lists(st.binary(max_size=100)), transformed=st.booleans())
def test_raw_keeps_every_byte(chunks: list[bytes], transformed: bool) -> None:
    wire = Raw(Limits(message=LIMIT))
    events = feed(wire, chunks)
    messages = [event for event in events if isinstance(event, bytes)]
    assert messages == events
    assert b"".join(messages) == b"".join(chunks)
    assert all(0 < len(message) <= LIMIT for message in messages)
    assert not wire.mid_message
    assert wire.receive_eof() == [Closed(1000, "", b"")]


def test_raw_cuts_a_long_read_at_the_limit() -> None:
    wire = Raw(Limits(message=4))
    assert wire.receive(b"0123456789") == [b"0123", b"4567", b"89"]
    assert wire.receive(b"0123") == [b"0123"]
    assert wire.encode(b"0123456789") == b"0123456789"


@pytest.mark.parametrize("payload", [b"a\nb", b"a\rb", b"a\r", b"\n"])
def test_lines_refuse_a_payload_that_would_be_two(payload: bytes) -> None:
    with pytest.raises(ValueError, match=re.escape("a line break in a message")):
        Lines().encode(payload)


@pytest.mark.parametrize("split", [lambda stream: [stream], bytewise], ids=["whole", "bytewise"])
def test_lines_end_with_lf_or_crlf(split: Callable[[bytes], list[bytes]]) -> None:
    wire = Lines(Limits(message=5))
    assert feed(wire, split(b"one\r\ntwo\n\r\n\na\rb\nabcde\r\n")) == [
        b"one",
        b"two",
        b"",
        b"",
        b"a\rb",
        b"abcde",
    ]


def test_a_line_is_refused_before_its_end() -> None:
    wire = Lines(Limits(message=5))
    assert wire.receive(b"abcde\r") == []
    assert isinstance(the_failure(wire.receive(b"x")), MessageTooBig)
