"""Targets: an open WebSocket with permessage-deflate, in both roles.

Beside it stands wsproto with an extension that inflates plainly. It is not the one that wsproto
brings: that one forgets that a message is compressed when a ping comes between its fragments, and
inflates nothing more once a message ended with a final block. As without compression, and:

* Data behind a final block is refused with 1007, but for what ends a message.
* After our own close nothing is inflated, so that what cannot be is not noticed.
* A message is inflated when it is whole, so that what cannot be inflated is told then.
* A message is also refused for what its frames declare, where that is more than zlib makes of one
  that keeps the limit.
"""

from __future__ import annotations

import zlib
from copy import copy
from functools import lru_cache

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from fuzz import oracle
from fuzz.errors import demand, demand_equal
from fuzz.inputs import Input
from fuzz.invariants import Outcome, check_end, check_memory, check_messages, feed, outcome
from fuzz.websockets import CLOSING, check_replies
from netwire import Limits
from netwire.websocket import Deflate, WebSocketClient, WebSocketServer
from netwire.websocket.compression import Compression

_CONTEXT, _SMALL_WINDOW = 3, 4
"""The options that context is taken over, and that the window is the smallest."""

_UNLIMITED = Limits(message=(1 << 63) - 2, fragments=1 << 40)
"""As much as zlib can be told; an input is short, so that it inflates to less than a MiB."""

_TAIL = b"\0\0\xff\xff"
_ENDS = (_TAIL, b"\0" + _TAIL)


class Inflater(Extension):
    """Inflates messages whose first frame says that they are compressed, once they are whole."""

    name = "permessage-deflate"

    def __init__(self, bits: int, context: bool, stopped: bool) -> None:
        self._bits = bits
        self._context = context
        self._stopped = stopped
        self._inflater = zlib.decompressobj(-bits)
        self._held = b""
        self._in_message = self._compressed = self._control = False

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._control = opcode.iscontrol()
        if self._control:
            return RsvBits(False, False, False)
        # Elsewhere wsproto sees to this, but only after the payload was inflated.
        if self._in_message is not (opcode is Opcode.CONTINUATION):
            return CloseReason.PROTOCOL_ERROR
        first = not self._in_message
        if first:
            self._in_message = True
            self._compressed = rsv.rsv1
        if payload_length > _UNLIMITED.message and not self._compressed:
            return CloseReason.MESSAGE_TOO_BIG
        return RsvBits(first, False, False)

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        if self._control or not self._compressed:
            return data
        self._held += data
        return b""

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        if self._control or not fin:
            return None
        self._in_message = False
        if not self._compressed:
            return None
        data, self._held = self._held, b""
        if self._stopped:
            return b""
        try:
            inflated = self._inflater.decompress(data + _TAIL)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        if self._inflater.eof and self._inflater.unused_data not in _ENDS:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        if self._inflater.eof or not self._context:
            self._inflater = zlib.decompressobj(-self._bits)
        return inflated


def deflate(given: Input) -> Deflate:
    """What both ends of an input want of compression."""
    bits, context = 9 if given.has(_SMALL_WINDOW) else 15, given.has(_CONTEXT)
    return Deflate(
        server_window_bits=bits,
        client_window_bits=bits,
        server_context=context,
        client_context=context,
        threshold=1,
    )


def opened(client: bool, limits: Limits, wanted: Deflate) -> WebSocketServer | WebSocketClient:
    """A connection that is open, idle and compressed, in one role."""
    wire = copy(_opened(client, limits, wanted))
    # The one thing of an idle wire that changes in place.
    assert wire._compression is not None
    wire._compression = Compression(wire._compression.terms)
    return wire


@lru_cache
def _opened(client: bool, limits: Limits, wanted: Deflate) -> WebSocketServer | WebSocketClient:
    limits = Limits(message=limits.message, fragments=limits.fragments)  # a head's are too small
    server = WebSocketServer(limits, compression=wanted)
    wire = WebSocketClient("a", limits=limits, compression=wanted)
    server.receive(wire.start())
    wire.receive(server.accept())
    return wire if client else server


def inflating(client: bool, data: bytes) -> None:
    """A stream of frames, some compressed, beside wsproto with a plain inflater."""
    given = Input.parse(data)
    wanted, stream, closing = deflate(given), given.stream, given.has(CLOSING)

    def ours(pieces: list[bytes]) -> list[Outcome]:
        wire = opened(client, _UNLIMITED, wanted)
        if closing:
            wire.close()
        return oracle.comparable(map(outcome, feed(wire, pieces)))

    def theirs(pieces: list[bytes]) -> list[Outcome]:
        compression = opened(client, _UNLIMITED, wanted)._compression
        assert compression is not None
        their = compression.terms.theirs
        inflater = Inflater(max(their.bits, 9), their.context, closing)
        return oracle.plain(client, pieces, closing=closing, extensions=[inflater])

    expected = theirs([stream])
    whole = ours([stream])
    demand(oracle.agree(whole, expected, complete=False), "wsproto agrees", whole, expected)
    padded = [oracle.padded(stream)]
    demand_equal(ours(padded), theirs(padded), "wsproto agrees on whole headers")

    limit = given.limits.message
    seen: list[Outcome] | None = None
    for pieces in given.splits():
        demand_equal(ours(pieces), whole, "a split changes nothing")
        wire = opened(client, given.limits, wanted)
        if closing:
            wire.close()
        events = feed(wire, pieces)
        limited = [outcome(event) for event in events]
        seen = limited if seen is None else seen
        demand_equal(limited, seen, "a split changes nothing under limits")
        demand(
            _agree_within(limited, whole, limit, len(stream)),
            "limits refuse what is over them and nothing else",
            given.limits,
            limited,
            whole,
        )
        check_memory(wire, len(stream), limit + len(stream))
        check_end(wire, stream)
    for role in (client, not client):
        sender, receiver = opened(role, _UNLIMITED, wanted), opened(not role, _UNLIMITED, wanted)
        check_messages(events, limit, lambda end=sender: end, lambda end=receiver: end)  # type: ignore[misc]
    check_replies(client, events, closing)


def _agree_within(
    limited: list[Outcome], unlimited: list[Outcome], limit: int, arrived: int
) -> bool:
    """Whether an account under limits is what it should be beside the one without."""
    told = oracle.comparable(limited)
    if told == unlimited:
        return True
    *before, last = told or [()]
    faults = [("Failed", code) for code in (1002, 1007, 1009)]
    if last not in faults or before != unlimited[: len(before)]:
        return False
    following = [each for each in unlimited[len(before) :] if isinstance(each, bytes | str)][:1]
    # That it declares more than it may is not seen from here, nor in how many frames it comes.
    return (
        arrived > limit
        or "TooManyFragments" in limited[-1]
        or all(len(each.encode() if isinstance(each, str) else each) > limit for each in following)
    )
