"""The envelope's header, byte by byte, and what a large or hostile one costs."""

from __future__ import annotations

import tracemalloc

import pytest

from netwire import Failed, Limits, MessageTooBig, ProtocolError, RemoteError
from netwire.framing import Envelope
from netwire.framing.envelope import _header
from netwire.framing.length_prefix import _prefix


@pytest.mark.parametrize(
    ("payload", "encoded"),
    [
        (b"", b"10"),
        (b"hello", b"15hello"),
        (b"x" * 10, b"210" + b"x" * 10),
        (b"x" * 128, b"3128" + b"x" * 128),
        (b"x" * 1023, b"41023" + b"x" * 1023),
        (b"x" * 1024, b"41024" + b"x" * 1024),
        (b"x" * 123456, b"6123456" + b"x" * 123456),
    ],
    ids=lambda value: value[:8].decode(),
)
def test_bytes_on_the_wire(payload: bytes, encoded: bytes) -> None:
    wire = Envelope()
    assert wire.encode(payload) == encoded
    assert wire.receive(encoded) == [payload]


@pytest.mark.parametrize(
    ("stream", "error", "words"),
    [
        (b"x", ProtocolError, "not with byte 0x78"),
        (b"GET / HTTP/1.1\r\n", ProtocolError, "not with byte 0x47"),
        (b"\x16\x03\x01", ProtocolError, "not with byte 0x16"),
        (b"\xff", ProtocolError, "not with byte 0xff"),
        (b"0", ProtocolError, "not with byte 0x30"),
        (b"00", ProtocolError, "not with byte 0x30"),
        (b":", ProtocolError, "not with byte 0x3a"),
        (b"20", ProtocolError, "no leading zeros"),
        (b"205", ProtocolError, "no leading zeros"),
        (b"9000000005", ProtocolError, "no leading zeros"),
        (b"1x", ProtocolError, "decimal digits"),
        (b"2 5", ProtocolError, "decimal digits"),
        (b"2+5", ProtocolError, "decimal digits"),
        (b"31_0", ProtocolError, "decimal digits"),
        (b"2-1", ProtocolError, "decimal digits"),
        (b"3\xd9\xa1\xd9", ProtocolError, "decimal digits"),
        (b"3101", MessageTooBig, "message of 101 bytes is over the limit of 100"),
        (b"9999999999", MessageTooBig, "message of 999999999 bytes is over the limit of 100"),
    ],
)
def test_a_bad_header_is_refused_before_any_payload(
    stream: bytes, error: type[RemoteError], words: str
) -> None:
    for pieces in ([stream], [stream[i : i + 1] for i in range(len(stream))], [stream + b"5" * 99]):
        wire = Envelope(Limits(message=100))
        events = wire.receive(b"12ok")
        for piece in pieces:
            events += wire.receive(piece)
        message, failure = events
        assert message == b"ok"
        assert isinstance(failure, Failed)
        assert type(failure.error) is error
        assert words in str(failure.error)


def test_a_payload_no_header_can_tell_is_refused() -> None:
    assert _header(10**9 - 1) == b"9999999999"
    with pytest.raises(ValueError, match="1000000000 bytes is longer"):
        _header(10**9)
    assert _prefix(2**32 - 1) == b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="4294967296 bytes is longer"):
        _prefix(2**32)


def test_a_declared_length_takes_no_memory_until_it_arrives() -> None:
    wire = Envelope(Limits(message=10**9))
    tracemalloc.start()
    try:
        wire.receive(b"9500000000")
        wire.receive(b"x" * 1000)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 16 * 1024


def test_a_message_dripped_in_bytes_is_copied_a_fixed_number_of_times() -> None:
    # At a quadratic cost this would move 8 TB and not end within the test's time-out.
    size = 4_000_000
    wire = Envelope(Limits(message=size))
    stream = wire.encode(b"x" * size)
    received = 0
    for i in range(len(stream)):
        received += len(wire.receive(stream[i : i + 1]))
    assert received == 1


def test_one_read_with_many_messages_is_parsed_in_place() -> None:
    wire = Envelope()
    assert len(wire.receive(b"10" * 1_000_000)) == 1_000_000
