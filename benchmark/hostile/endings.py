"""Peers that vanish, at every point: reset, half-closed, or gone in the middle of something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmark.hostile.frames import BINARY, CLOSE, CONTINUATION, TEXT, frame, header
from benchmark.hostile.making import attack
from benchmark.hostile.peer import HEAD, Attack, Peer


def _nothing(peer: Peer) -> None:
    """Just connected."""


def _say(data: bytes, peer: Peer) -> None:
    peer.send(data)


def _half_a_hello(peer: Peer) -> None:
    peer.send(peer.hello()[:100])


def _hello(peer: Peer) -> None:
    peer.send(peer.hello())


def _answers_unread(peer: Peer) -> None:
    peer.send(frame(BINARY, bytes(100_000)) * 10)


def _then(before: Callable[[Peer], None], end: Callable[[Peer], None], peer: Peer) -> None:
    before(peer)
    end(peer)


def _echo_to_half_closed(peer: Peer) -> None:
    """It has ended its side, and is owed what it asked for."""
    peer.send(b"15hello")
    peer.shut()
    peer.expect(b"15hello")


def attacks() -> Iterator[Attack]:
    """The family."""
    points: tuple[tuple[str, str, bool, Callable[[Peer], None], int], ...] = (
        ("at once", "ws", False, _nothing, 1006),
        ("in the head", "ws", False, partial(_say, HEAD[:40]), 1006),
        ("after the head", "ws", False, partial(_say, HEAD), 1006),
        ("once open", "ws", True, _nothing, 1006),
        ("in a header", "ws", True, partial(_say, header(BINARY, 1000)[:2]), 1006),
        ("in a frame", "ws", True, partial(_say, frame(BINARY, bytes(1000))[:500]), 1006),
        ("between fragments", "ws", True, partial(_say, frame(TEXT, b"x", fin=False)), 1006),
        (
            "in a fragment",
            "ws",
            True,
            partial(_say, frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"yyyy")[:8]),
            1006,
        ),
        ("with answers unread", "ws", True, _answers_unread, 1006),
        ("after its close", "ws", True, partial(_say, frame(CLOSE, (1000).to_bytes(2))), 1000),
        ("at once", "wss", False, _nothing, 1006),
        ("in the hello", "wss", False, _half_a_hello, 1006),
        ("after the hello", "wss", False, _hello, 1006),
        ("once open", "wss", True, _nothing, 1006),
        ("in a frame", "wss", True, partial(_say, frame(BINARY, bytes(1000))[:500]), 1006),
        ("in an envelope", "tcp", True, partial(_say, b"3500" + bytes(20)), 1006),
        ("in a length", "tcp", True, partial(_say, b"3"), 1006),
    )
    for name, where, opened, before, noted in points:
        yield attack(
            f"reset {name}, {where}",
            partial(_then, before, Peer.reset),
            "served",
            where=where,
            opened=opened,
            # A peer may have gone before it is accepted, or was looked at.
            noted=noted if where != "tcp" and opened else None,
        )
        if name == "after its close":
            continue
        # TLS ends in an alert, and what an open WebSocket was answered comes before the end.
        yield attack(
            f"half-closed {name}, {where}",
            partial(_then, before, Peer.shut),
            "end",
            *(("HTTP 101",) if name == "after the head" else ()),
            where=where,
            opened=opened,
            noted=noted,
        )
    yield attack(
        "half-closed and owed an answer", _echo_to_half_closed, "served", where="tcp", noted=1000
    )
