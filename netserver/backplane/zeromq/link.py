"""The end at which a server subscribes: a DEALER to one peer."""

from __future__ import annotations

import asyncio
import itertools
import logging
import struct
from collections import deque
from collections.abc import Iterable
from typing import Protocol

import zmq

from netserver.backplane.zeromq import wire
from netserver.backplane.zeromq.outbox import CREDIT_EVERY, FRAME_COST
from netserver.backplane.zeromq.pump import Pump
from netserver.backplane.zeromq.wire import Action, Farewell, Introduction, Kind, Malformed

log = logging.getLogger(__name__)

_UNTRUSTED = zmq.EVENT_HANDSHAKE_FAILED_AUTH
_BROKEN_OFF = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
_GONE = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
_WATCHED = _UNTRUSTED | _BROKEN_OFF | _GONE

_numbers = itertools.count()


class LinkLost(ConnectionError):
    """A link has ended, or did not come about.

    Attributes:
        reason: Why, in words.
        refused: Whether it failed in ZeroMQ's handshake.
        wrong_key: Whether another key may be the right one.
        left: Whether the peer said that it leaves.
    """

    def __init__(
        self,
        reason: str,
        *,
        refused: bool = False,
        wrong_key: bool = False,
        left: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refused = refused
        self.wrong_key = wrong_key
        self.left = left


class LinkOwner(Protocol):
    """What a link tells."""

    def arrived(self, link: Link, frame: bytes) -> None:
        """A DATA frame. Raises Malformed."""

    def whole(self) -> Iterable[str]:
        """All that is subscribed to."""

    def told(self, infos: list[wire.PeerInfo]) -> None:
        """The peer knows others."""

    def acknowledged(self, link: Link) -> None:
        """The peer has taken over all that it was told to, after a `Link.resync`."""

    def mistaken(self, error: Malformed) -> None:
        """The peer has sent something that was ignored."""

    def lost(self, link: Link, error: LinkLost) -> None:
        """It has ended; not told before `Link.greeting` is done, nor after `Link.close`."""


class Link:
    """Tells one peer what this server wants, and hands over what comes. On the loop's thread.

    It does not reconnect: for each attempt there is a new one, so that nothing of an old one can
    come after it was taken for lost.

    Args:
        socket: A DEALER, configured, not yet connected.
        endpoint: Where to, with an IP address: ZeroMQ would look up a name in its I/O thread.
        hello: The HELLO frame.

    Raises:
        zmq.ZMQError: There are too many descriptors or sockets.

    Attributes:
        greeting: Done with who the peer is when it has introduced itself, or with `LinkLost`; if
            the peer is wanted, `resync` follows.
        synced: Whether it knows all that this server wants.
        heard: When it was last heard, seconds of the loop's clock.
        advanced: When it last acknowledged something.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: zmq.Context[zmq.Socket[bytes]],
        socket: zmq.Socket[bytes],
        endpoint: str,
        hello: bytes,
        owner: LinkOwner,
    ) -> None:
        self._loop = loop
        self._owner = owner
        self.greeting: asyncio.Future[Introduction] = loop.create_future()
        self.synced = False
        self.closed = False
        self.heard = self.advanced = loop.time()
        self._number = 0
        self._synced_at = 0
        self._acknowledged_to = 0
        self._received = 0
        self._credited = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        # pyzmq names the monitor by a descriptor, which another may have had a moment ago.
        name = f"inproc://monitor-{next(_numbers)}"
        monitor = context.socket(zmq.PAIR)
        try:
            socket.monitor(name, _WATCHED)
            monitor.connect(name)
            socket.connect(endpoint)
        except zmq.ZMQError:
            monitor.close()
            socket.close()
            raise
        self._socket = socket
        self._monitor = Pump(loop, monitor, self._happened)
        self._pump = Pump(loop, socket, self._take)
        self._send(hello)

    def resync(self) -> None:
        """Tell the peer the whole set."""
        self._change(Action.BEGIN, b"")
        for chunk in wire.chunks(self._owner.whole()):
            self._change(Action.EXTEND, chunk)
        self._change(Action.END, b"")
        self._synced_at = self._number

    def change(self, action: Action, chunks: Iterable[bytes]) -> None:
        """Tell the peer of a change of the set."""
        # Before the whole set is told there is nothing to change.
        if self._number:
            for chunk in chunks:
                self._change(action, chunk)

    def acknowledgement(self) -> asyncio.Future[None]:
        """Done when the peer has taken over all that it was told, or the link has ended."""
        future: asyncio.Future[None] = self._loop.create_future()
        if self.closed or self._acknowledged_to == self._number:
            future.set_result(None)
        else:
            self._waiting.append((self._number, future))
        return future

    def read(self) -> None:
        """Hand over what has come."""
        if not self.closed:
            self._pump.read()

    def beat(self) -> None:
        """Tell the peer that this server lives, and what it has received."""
        self._credited = self._received
        self._send(wire.beat(self._number, self._received))

    def close(self, farewell: Farewell | None, linger: int = 0) -> None:
        """End it, with a word to the peer or none."""
        if self.closed:
            return
        self.closed = True
        if farewell is not None:
            try:
                self._pump.send((wire.bye(farewell),))
            except zmq.Again:
                pass  # the peer has gone first
        self._socket.disable_monitor()
        self._monitor.close()
        self._pump.close(linger)
        for _, future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def _change(self, action: Action, chunk: bytes) -> None:
        self._number += 1
        self._send(wire.change(self._number, action, chunk))

    def _send(self, frame: bytes) -> None:
        if self.closed:
            return
        try:
            self._pump.send((frame,))
        except zmq.Again:
            # The connection has gone, of which the monitor tells more; or the queue is full.
            self._monitor.read()
            self._lose(LinkLost("it takes no more"))

    def _take(self, parts: list[bytes]) -> None:
        frame = parts[0]
        self.heard = self._loop.time()
        self._received += len(frame) + FRAME_COST
        try:
            if len(parts) != 1:
                raise Malformed("a message of several parts")
            self._handle(frame)
        except Malformed as error:
            self._owner.mistaken(error)
        if self._received - self._credited >= CREDIT_EVERY:
            self.beat()

    def _handle(self, frame: bytes) -> None:
        kind = wire.kind_of(frame)
        if kind is Kind.BYE:
            self._ended(wire.read_bye(frame))
        elif not self.greeting.done():
            if kind is not Kind.WELCOME:
                raise Malformed(f"a {kind.name} before a WELCOME")
            self.greeting.set_result(wire.read_introduction(frame))
        elif kind is Kind.DATA:
            self._owner.arrived(self, frame)
        elif kind is Kind.ACK:
            self._acknowledged(wire.read_ack(frame))
        elif kind is Kind.PEERS:
            self._owner.told(wire.read_peers(frame))
        elif kind is Kind.RESYNC:
            self.resync()
        elif kind is not Kind.PULSE:
            raise Malformed(f"a {kind.name} out of place")

    def _acknowledged(self, number: int) -> None:
        if not self._acknowledged_to < number <= self._number:
            raise Malformed(f"an acknowledgement of {number}, which is not due")
        self._acknowledged_to = number
        self.advanced = self._loop.time()
        while self._waiting and self._waiting[0][0] <= number:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
        if not self.synced and self._synced_at and number >= self._synced_at:
            self.synced = True
            self._owner.acknowledged(self)

    def _ended(self, farewell: Farewell) -> None:
        if farewell is Farewell.LEAVING:
            self._lose(LinkLost("the peer leaves", left=True))
        elif farewell is Farewell.FULL:
            self._lose(LinkLost("the peer takes no more"))
        else:
            self._lose(LinkLost("the peer knows nothing of it any more"))

    def _happened(self, parts: list[bytes]) -> None:
        event, value = struct.unpack_from("=Hi", parts[0])
        if event & _UNTRUSTED:
            error = LinkLost("it does not trust this server's key", refused=True)
        elif event & _BROKEN_OFF:
            reason = "it has another key, or one of the two has no CURVE"
            error = LinkLost(reason, refused=True, wrong_key=True)
        else:
            # What it sent before comes first: it may say why.
            self._pump.read()
            error = LinkLost(
                "the connection has gone" if self.greeting.done() else "nobody is there"
            )
        log.debug("link: %s (%s %s)", error.reason, event, value)
        self._lose(error)

    def _lose(self, error: LinkLost) -> None:
        if self.closed:
            return
        self.close(None)
        if self.greeting.done():
            self._owner.lost(self, error)
        else:
            self.greeting.set_exception(error)
