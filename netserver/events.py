"""What a server tells of its workers, one class per thing that can happen."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from foreman import Node


@frozen
class Accepted:
    """A peer's connection was accepted; its place and its handshake come next."""


@frozen
class Refused:
    """A peer was turned away before it was open."""

    reason: str


@frozen
class Opened:
    """A connection is open: messages may flow."""


@frozen
class Closed:
    """A connection ended. ``code`` as in RFC 6455, section 7.4; 1006 when nobody said goodbye."""

    code: int
    reason: str


@frozen
class Failed:
    """Something of a worker's raised, or its peer broke a rule."""

    error: BaseException


@frozen
class Moved:
    """A connection runs on another node from now on."""

    old: Node
    new: Node


@frozen
class Gap:
    """A slow reader was not sent everything: some messages gave way, as its policy says.

    Args:
        messages: How many since the last gap that was told.
        size: Their bytes, with what frames them where they were encoded already.
        superseded: How many of them a newer one of the same key has replaced.
    """

    messages: int
    size: int
    superseded: int


@frozen
class BackplaneUp:
    """The link to the other servers is up; the worker is `Server.cluster`, as for the next two."""

    reason: str


@frozen
class BackplaneDown:
    """The link to the other servers is down; what is local goes on."""

    reason: str


@frozen
class MessagesDropped:
    """Messages did not get to other servers: the link was down for long, or there was no room."""

    messages: int


Event: TypeAlias = (
    Accepted
    | Refused
    | Opened
    | Closed
    | Failed
    | Moved
    | Gap
    | BackplaneUp
    | BackplaneDown
    | MessagesDropped
)
