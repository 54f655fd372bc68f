"""Floods: very much that costs the sender little; and readers that read slowly, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic, sleep

from benchmark.hostile.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from benchmark.hostile.making import attack
from benchmark.hostile.peer import PIECE, Attack, Peer

ECHOED = b"\x82\x03bye"


def _read(data: bytes, peer: Peer) -> None:
    """A flood by one who reads, and is a good client after it: so it has to be served."""
    peer.flood(_whole(data), reading=True)
    _be_good(peer)


def _unread(data: bytes, peer: Peer) -> None:
    """A flood by one who reads nothing of what is answered, and goes in the end."""
    peer.flood(_whole(data), reading=False)
    peer.leave()


def _whole(data: bytes) -> bytes:
    """About as much as is sent at a time."""
    return data * max(1, PIECE // len(data))


def _be_good(peer: Peer) -> None:
    peer.send(frame(PING, b"the last one") + frame(BINARY, b"bye"))
    end = b""
    while not end.endswith(ECHOED):  # all that was answered to the flood comes before it
        piece = peer.sock.recv(PIECE)
        if not piece:
            return
        end = (end + piece)[-len(ECHOED) :]
    peer.leave()


def _order(what: bytes, peer: Peer) -> None:
    peer.send(frame(BINARY, what))


def _reads_nothing(peer: Peer) -> None:
    """Orders much and reads nothing, until it is cut."""
    _order(b"!much", peer)
    ends = monotonic() + peer.patience
    while monotonic() < ends:
        peer.send(frame(PONG))  # so that it is told when it was cut
        sleep(0.01)
    raise TimeoutError("it was not cut")


def _reads_little(peer: Peer) -> None:
    """Orders much and reads a byte now and then, so that there is always progress."""
    _order(b"!much", peer)
    ends = monotonic() + peer.patience
    while monotonic() < ends:
        # Told apart from a close, after which the system would go on giving what it had kept.
        if peer.is_reset(0.01) or not peer.sock.recv(1):
            return
    raise TimeoutError("it was not cut, or what the system keeps for it was not thrown away")


def _ignores_a_close(peer: Peer) -> None:
    """Is told goodbye, and neither answers nor goes."""
    _order(b"!close", peer)


def _ignores_a_close_and_talks(peer: Peer) -> None:
    """Is told goodbye, and goes on talking."""
    _order(b"!close", peer)
    while True:
        peer.send(frame(BINARY, bytes(1000)))
        sleep(0.005)


def _closes_without_end(peer: Peer) -> None:
    """Says goodbye over and over."""
    peer.send(frame(CLOSE, (1000).to_bytes(2)) * 10_000)


def _talks_after_its_close(peer: Peer) -> None:
    peer.send(frame(CLOSE, (1000).to_bytes(2)) + frame(BINARY, b"x") * 1000)


def attacks() -> Iterator[Attack]:
    """The family."""
    many = 500
    in_fragments = frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) * many
    kinds: tuple[tuple[str, bytes], ...] = (
        ("pings", frame(PING)),
        ("long pings", frame(PING, bytes(125))),
        ("pongs", frame(PONG)),
        ("empty messages", frame(BINARY)),
        ("tiny messages", frame(TEXT, b"x")),
        ("empty fragments", in_fragments + frame(CONTINUATION)),
    )
    for name, data in kinds:
        yield attack(f"flood of {name}", partial(_read, data), "served")
    for name, data in kinds:
        # When its flood is over, it reads, and goes: all it is owed is answered, or it was cut.
        yield attack(
            f"flood of {name}, unread", partial(_unread, data), "served", "end", noted=None
        )
    yield attack(
        "flood of envelopes of nothing",
        lambda peer: _flood_envelopes(peer),
        "served",
        where="tcp",
        noted=1000,
    )
    readers: tuple[tuple[str, Callable[[Peer], None]], ...] = (
        ("reads nothing", _reads_nothing),
        ("reads a byte now and then", _reads_little),
    )
    for name, strike in readers:
        yield attack(name, strike, "end", noted=1008, deadline="write")
    yield attack("ignores a close", _ignores_a_close, "close 4000", "end", deadline="close")
    yield attack(
        "ignores a close and talks", _ignores_a_close_and_talks, "close 4000", "end",
        deadline="close",
    )  # fmt: skip
    yield attack("closes without end", _closes_without_end, "close 1000", noted=1000)
    yield attack("talks after its close", _talks_after_its_close, "close 1000", noted=1000)


def _flood_envelopes(peer: Peer) -> None:
    peer.flood(_whole(b"10"), reading=True)
    peer.shut()
    while peer.sock.recv(PIECE):
        pass
    peer.served = True
