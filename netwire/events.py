"""What a wire reports.

A message is reported as itself: ``bytes`` for binary, ``str`` for text. Everything else is one of
the classes below. They are created for rare things only, so they may be frozen; nothing of the
kind is made for a message.

Where the protocol owes the peer an answer, the event carries it as ``reply``: the shell writes it
in its place among the other writes, so an answer never overtakes what was sent before it.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from netwire.errors import RemoteError
from netwire.http import Request, Response


@frozen
class Requested:
    """A server's wire read a whole handshake: answer with ``accept`` or ``respond``.

    The wire reports nothing further until then; what arrives meanwhile is kept, up to
    `Limits.head`, and then refused: stop reading until you have answered.
    """

    request: Request


@frozen
class PlainRequest:
    """A well-formed HTTP request that asks for no WebSocket: answer with ``respond``."""

    request: Request


@frozen
class Opened:
    """A client's wire may send from now on. ``response`` is None where there is no handshake."""

    response: Response | None


@frozen
class Ping:
    """The peer asks whether we live; ``reply`` is the pong."""

    payload: bytes
    reply: bytes


@frozen
class Pong:
    """The answer to a ping, or an unasked one."""

    payload: bytes


@frozen
class Closed:
    """The peer closed in good order. ``reply`` echoes the close where it is still owed.

    After it the wire ignores whatever else arrives. ``code`` is 1005 where the peer gave none
    (RFC 6455, section 7.1.5), and 1000 for a stream framing at end of stream.
    """

    code: int
    reason: str
    reply: bytes


@frozen
class Failed:
    """The peer broke a rule: write ``reply``, if any, and drop the connection.

    Always the last event of its wire; whatever else arrives is ignored.
    """

    error: RemoteError
    reply: bytes


@frozen
class More:
    """The wire keeps some of what arrived; ``receive(b"")`` goes on with it.

    Always the last event of its call. A compressed message costs its sender little, so that one
    read may hold very many: after about `Limits.message` inflated bytes the wire stops, for others
    to have their turn and for the messages to be taken.
    """


Event: TypeAlias = (
    bytes | str | Requested | PlainRequest | Opened | Ping | Pong | More | Closed | Failed
)
