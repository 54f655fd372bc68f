"""Targets: an open WebSocket, in both roles."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from functools import lru_cache

from fuzz import oracle
from fuzz.errors import demand, demand_equal
from fuzz.inputs import Input
from fuzz.invariants import (
    Outcome,
    check_end,
    check_memory,
    check_messages,
    feed,
    outcome,
)
from netwire import Closed, Event, Failed, Limits, Ping, Pong, State
from netwire.websocket import WebSocketClient, WebSocketServer

_LIMITS = Limits()
CLOSING = 2
"""The option that we have sent our close before the stream comes."""


def opened(client: bool, limits: Limits = _LIMITS) -> WebSocketServer | WebSocketClient:
    """A connection that is open and idle, in one role."""
    # An open and idle wire holds nothing that changes in place, and copies are quick to make.
    return copy(_opened(client, limits))


@lru_cache
def _opened(client: bool, limits: Limits) -> WebSocketServer | WebSocketClient:
    server, wire = WebSocketServer(limits), WebSocketClient("a", limits=limits)
    server.receive(wire.start())
    wire.receive(server.accept())
    return wire if client else server


def ours(
    client: bool, pieces: Iterable[bytes], limits: Limits, *, closing: bool = False
) -> list[Outcome]:
    """What our wire reports of a stream.

    Args:
        client: Whether it is the client that receives.
        pieces: The stream.
        limits: What the peer may make us hold.
        closing: Whether our close was sent before.
    """
    wire = opened(client, limits)
    if closing:
        wire.close()
    return [outcome(event) for event in feed(wire, pieces)]


def websocket(client: bool, data: bytes) -> None:
    """A stream of frames, beside plain wsproto."""
    given = Input.parse(data)
    closing = given.has(CLOSING)
    stream = given.stream

    for limits in (oracle.UNLIMITED, given.limits):
        theirs = oracle.plain(client, [stream], limits, closing=closing)
        whole = ours(client, [stream], limits, closing=closing)
        agreed = oracle.agree(whole, theirs, complete=False)
        demand(agreed, "plain wsproto agrees", limits, whole, theirs)

        padded = [oracle.padded(stream)]
        theirs = oracle.plain(client, padded, limits, closing=closing)
        found = ours(client, padded, limits, closing=closing)
        agreed = oracle.agree(found, theirs, complete=True)
        demand(agreed, "plain wsproto agrees on whole headers", limits, found, theirs)

    for pieces in given.splits():
        wire = opened(client, given.limits)
        if closing:
            wire.close()
        events = feed(wire, pieces)
        demand_equal([outcome(event) for event in events], whole, "a split changes nothing")
        check_memory(wire, len(stream), given.limits.message + 16)
        check_end(wire, stream)
    check_messages(events, given.limits.message, lambda: opened(not client), lambda: opened(client))
    check_messages(events, given.limits.message, lambda: opened(client), lambda: opened(not client))
    check_replies(client, events, closing)


def check_replies(client: bool, events: list[Event], closing: bool) -> None:
    """See that the peer understands what we answer."""
    peer = opened(not client)
    for event in events:
        match event:
            case Ping(payload, reply):
                demand_equal(peer.receive(reply), [Pong(payload)], "a pong answers a ping")
            case Failed(error, reply):
                heard = [outcome(each) for each in peer.receive(reply)]
                said = [] if closing else [("Closed", error.close_code, error.reason)]
                demand_equal(heard, said, "the peer is told its fault, unless we closed before")
            case Closed(code, _, reply):
                heard = [outcome(each) for each in peer.receive(reply)]
                said = [] if closing else [("Closed", code, "")]
                demand_equal(heard, said, "the peer's close is echoed, unless we closed before")
    if events and not isinstance(events[-1], Closed | Failed):
        demand_equal(peer.state, State.OPEN, "the peer stays open")
