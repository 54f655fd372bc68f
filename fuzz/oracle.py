"""What plain wsproto makes of a stream, and where we mean to differ from it.

wsproto is below us, but whole data frames never reach it, and all others reach it in other pieces
than they came in. So it can judge us: the same messages, the same control frames, the same close
code. We differ on purpose in this alone:

* **Limits.** wsproto has none; `Limiter` gives it some, from what it says of each header.
* **Two faults in one frame.** Of a frame that is too big and also masked wrongly, say, either may
  be told: 1009 or 1002.
* **Incomplete headers.** wsproto judges the first bytes of a header before the rest has come; we
  wait for all of it. So it may have failed a stream where we still wait; `padded` completes every
  header, and then both fail alike. But of a fragment that has no place wsproto tells only with the
  first byte of its payload, we with its header.
* **Our own close.** After it wsproto goes on reporting messages; we report the end alone.
* **The end of the stream.** Not asked of wsproto: it reports 1006 and so do we, unless the close
  has been seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import wsproto.events as ws
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from fuzz.invariants import Outcome
from netwire import Limits

UNLIMITED = Limits(message=1 << 80, fragments=1 << 80)

_LONGEST_HEADER = 14


class Limiter(Extension):
    """Refuses, from the header of a frame, what makes a message longer than the limits.

    It is an extension in wsproto's sense of the word only: a place from which headers are seen.
    """

    name = "limiter"

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._size = self._fragments = 0
        self._control = False

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._control = opcode.iscontrol()
        if not self._control:
            self._size += payload_length
            self._fragments += 1
        if self._size > self._limits.message or self._fragments > self._limits.fragments:
            return CloseReason.MESSAGE_TOO_BIG
        return RsvBits(False, False, False)

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        if fin and not self._control:
            self._size = self._fragments = 0
        return None


def plain(
    client: bool,
    pieces: Iterable[bytes],
    limits: Limits = UNLIMITED,
    *,
    closing: bool = False,
    extensions: Sequence[Extension] = (),
) -> list[Outcome]:
    """What wsproto alone reports, its pieces of messages joined.

    Args:
        client: Whether it is the client that receives.
        pieces: The stream.
        limits: Of a message; the others do not apply.
        closing: Whether our close was sent before.
        extensions: What else looks at the frames, or changes them.
    """
    role = ConnectionType.CLIENT if client else ConnectionType.SERVER
    connection = Connection(role, [Limiter(limits), *extensions])
    open_state = ConnectionState.OPEN
    if closing:
        connection.send(ws.CloseConnection(1000))
        open_state = ConnectionState.LOCAL_CLOSING
    outcomes: list[Outcome] = []
    text, binary = "", b""
    for piece in pieces:
        connection.receive_data(piece)
        for event in connection.events():
            match event:
                case ws.TextMessage(data=data, message_finished=finished):
                    text += data
                    if finished:
                        outcomes.append(text)
                        text = ""
                case ws.BytesMessage(data=data, message_finished=finished):
                    binary += data
                    if finished:
                        outcomes.append(binary)
                        binary = b""
                case ws.Ping(payload=payload) | ws.Pong(payload=payload):
                    outcomes.append((type(event).__name__, bytes(payload)))
                case ws.CloseConnection(code=code) if connection.state is open_state:
                    # Not a close of the peer's: so wsproto reports a broken rule.
                    return _heard([*outcomes, ("Failed", int(code))], closing)
                case ws.CloseConnection(code=code, reason=reason):
                    return _heard([*outcomes, ("Closed", int(code), reason or "")], closing)
    return _heard(outcomes, closing)


def _heard(outcomes: list[Outcome], closing: bool) -> list[Outcome]:
    return [each for each in outcomes if not closing or is_end(each)]


def padded(stream: bytes) -> bytes:
    """The stream with zeros behind it: they complete whatever header it ends in."""
    return stream + bytes(_LONGEST_HEADER)


def is_end(each: Outcome) -> bool:
    return isinstance(each, tuple) and each[0] in ("Closed", "Failed")


def comparable(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Our outcomes as `plain` gives them: a failure is its close code."""
    return [
        each[:2] if isinstance(each, tuple) and each[0] == "Failed" else each for each in outcomes
    ]


def agree(ours: list[Outcome], theirs: list[Outcome], *, complete: bool) -> bool:
    """Whether two accounts of a stream are the same but for what is meant to differ.

    Args:
        ours: As our wire has it.
        theirs: As `plain` has it.
        complete: Whether every header in the stream is complete, and something is behind it.
    """
    ours = comparable(ours)
    if ours == theirs:
        return True
    *before, last = theirs or [()]
    faults = [("Failed", 1002), ("Failed", 1009)]
    # A header's fault is ours to tell before there is any payload, on which wsproto waits.
    if not complete and ours == [*theirs, ("Failed", 1002)]:
        return True
    if last not in faults:
        return False
    return ours in [[*before, fault] for fault in faults] or (not complete and ours == before)
