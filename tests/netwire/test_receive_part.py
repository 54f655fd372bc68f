"""A long read in parts: the same events, and never many at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from netwire import Wire, events
from netwire.events import Event, More
from netwire.factory import server_wire
from netwire.url import parse_url
from netwire.websocket.wire import MOST_ODD, ODD_BYTES
from netwire.wire import MANY, PART

HEAD = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PING, EMPTY, TINY = (
    b"\x89\x80\0\0\0\0",
    b"\x82\x80\0\0\0\0",
    b"\x81\x81\0\0\0\0x",
)
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
FRAGMENTS = b"\x02\x81\0\0\0\0x" + b"\x80\x81\0\0\0\0y"
LONG = b"\x02\xfe\xff\xff\0\0\0\0" + bytes(65535) + b"\x80\x80\0\0\0\0"


def opened(url: str) -> Wire:
    wire = server_wire(parse_url(url))
    if url.startswith("ws"):
        wire.receive(HEAD)
        wire.accept()
    return wire


def in_parts(wire: Wire, data: bytes) -> list[list[Event]]:
    parts = [wire.receive_part(data)]
    while parts[-1] and isinstance(more := parts[-1][-1], More):
        parts[-1].pop()
        parts.append(wire.receive_part(more.rest))
    return parts


def size(part: list[Event]) -> int:
    return sum(len(event) for event in part if isinstance(event, bytes | str))


CASES: dict[str, tuple[str, bytes]] = {
    "pings": ("ws://x", PING * 5000),
    "pings and a close": ("ws://x", PING * 500 + CLOSE + PING * 500),
    "pings and a fault": ("ws://x", PING * 500 + b"\xff\xff" + PING * 500),
    "empty messages": ("ws://x", EMPTY * 20_000),
    "tiny messages": ("ws://x", TINY * 20_000),
    "tiny messages and a piece": ("ws://x", TINY * 20_000 + TINY[:4]),
    "fragments": ("ws://x", FRAGMENTS * 2000),
    "long messages in fragments": ("ws://x", LONG * 20),
    "a long message": ("ws://x", b"\x82\xff" + (200_000).to_bytes(8) + bytes(200_004)),
    "all kinds": ("ws://x", (PING + TINY + FRAGMENTS + EMPTY) * 500 + LONG),
    "empty envelopes": ("tcp://x:1", b"10" * 50_000),
    "envelopes and a piece": ("tcp://x:1", b"15hello" * 9000 + b"15he"),
    "envelopes and a fault": ("tcp://x:1", b"15hello" * 9000 + b"x" + b"10" * 9000),
    "nothing": ("ws://x", b""),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_events_and_never_many(case: str) -> None:
    url, data = CASES[case]
    parts = in_parts(opened(url), data)
    whole = opened(url).receive(data)
    assert repr([event for part in parts for event in part]) == repr(whole)
    for part in parts:
        assert len(part) <= MANY + PART // 2
        assert sum(isinstance(event, events.Ping) for event in part) <= MOST_ODD
        assert size(part) <= MANY * 256 + MOST_ODD * ODD_BYTES or len(part) == 1


@pytest.mark.parametrize("case", ["pings", "tiny messages", "empty envelopes"])
def test_there_are_parts(case: str) -> None:
    url, data = CASES[case]
    assert len(in_parts(opened(url), data)) >= 5


def test_messages_that_are_not_tiny_need_no_parts() -> None:
    count = 490  # in a read of 256,000 bytes
    data = (b"\x82\xfe\x02\0\0\0\0\0" + bytes(512)) * count
    for url, frames in (("ws://x", data), ("tcp://x:1", (b"3512" + bytes(512)) * count)):
        (part,) = in_parts(opened(url), frames)
        assert len(part) == count


def closing(wire: Wire) -> Wire:
    wire.close()
    return wire


@pytest.mark.parametrize("make", [opened, lambda url: closing(opened(url))])
def test_a_part_ends_in_more_whatever_the_state(make: Callable[[str], Wire]) -> None:
    parts = in_parts(make("ws://x"), PING * 5000 + CLOSE)
    assert len(parts) >= 5
    assert isinstance(parts[-1][-1], events.Closed)


def test_what_comes_before_the_handshake_has_no_parts() -> None:
    wire = server_wire(parse_url("ws://x"))
    (requested,) = wire.receive_part(HEAD + PING * 100)
    assert isinstance(requested, events.Requested)
    wire.accept()
    assert len(in_parts(wire, b"")) == 2
