"""What plain wsproto makes of a stream, and where we mean to differ from it.

wsproto is below us, but whole data frames never reach it, and all others reach it in other pieces
than they came in. So it can judge us: the same messages, the same control frames, the same close
code. We differ on purpose in this alone:

* **Limits.** wsproto has none. Under limits we report a prefix of what it reports, then 1009.
  To compare all of a stream, give the wire `UNLIMITED`.
* **Incomplete headers.** wsproto judges the first bytes of a header before the rest has come; we
  wait for all of it. So it may fail a stream with 1002 where we still wait; `padded` completes
  every header, and then both fail alike.
* **Our own close.** After it wsproto goes on reporting messages; we report the end alone.
* **The end of the stream.** Not asked of wsproto: it reports 1006 and so do we, unless the close
  has been seen.
"""

from __future__ import annotations

from collections.abc import Iterable

import wsproto.events as ws
from wsproto.connection import Connection, ConnectionState, ConnectionType

from fuzz.invariants import Outcome
from netwire import Limits

UNLIMITED = Limits(message=1 << 63, fragments=1 << 63)

_LONGEST_HEADER = 14


def plain(client: bool, pieces: Iterable[bytes], *, closing: bool = False) -> list[Outcome]:
    """What wsproto alone reports, its pieces of messages joined.

    Args:
        client: Whether it is the client that receives.
        pieces: The stream.
        closing: Whether our close was sent before.
    """
    connection = Connection(ConnectionType.CLIENT if client else ConnectionType.SERVER)
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


def agree(ours: list[Outcome], theirs: list[Outcome]) -> bool:
    """Whether two accounts of an unlimited stream are the same, as far as headers are complete."""
    ours = comparable(ours)
    return ours == theirs or [*ours, ("Failed", 1002)] == theirs


def agree_within_limits(ours: list[Outcome], unlimited: list[Outcome], limits: Limits) -> bool:
    """Whether an account under limits is what it should be beside the one without.

    That a message was refused for its size is checked where it can be seen that it was not over
    the limit: where it came whole, in one frame at most.
    """
    if ours == unlimited:
        return True
    *before, last = ours or [()]
    if last[:2] != ("Failed", 1009) or before != unlimited[: len(before)]:
        return False
    following = [each for each in unlimited[len(before) :] if isinstance(each, bytes | str)][:1]
    return "fragments" in str(last) or all(
        len(each.encode() if isinstance(each, str) else each) > limits.message for each in following
    )
