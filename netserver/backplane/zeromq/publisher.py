"""The end at which a server publishes: its ROUTER, and a session for each peer that subscribes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

import zmq
from attrs import define, field

from netserver.backplane.zeromq import wire
from netserver.backplane.zeromq.outbox import Outbox
from netserver.backplane.zeromq.pump import Pump
from netserver.backplane.zeromq.subscription_table import (
    PeerSubscriptions,
    SubscriptionTable,
    TooMany,
)
from netserver.backplane.zeromq.wire import Farewell, Introduction, Kind, Malformed

log = logging.getLogger(__name__)

# So long publishing waits for a peer that is behind, seconds; after that it does not wait for it
# any more, and drops what does not fit, until the peer has caught up.
_LONGEST_PAUSE = 0.25


@define(eq=False)
class Session:
    """A peer that subscribes here.

    Attributes:
        route: What ZeroMQ names its connection.
        who: The peer.
        heard: When it was last heard, seconds of the loop's clock.
    """

    route: bytes
    who: Introduction
    heard: float
    subscriptions: PeerSubscriptions[Session] = field(init=False)
    outbox: Outbox = field(factory=Outbox)
    moved: asyncio.Event = field(factory=asyncio.Event)
    subscribed: bool = False  # has told its whole set
    filling: bool = False  # has records that wait for the end of this turn of the loop
    asked: bool = False  # for the whole set, which has not begun to come


class Publisher:
    """Keeps what the peers want, and sends them that. On the loop's thread.

    Args:
        socket: The ROUTER, bound.
        introduce: Tells who this server is, and its other peers.
        met: Called with whoever says HELLO.
        changed: Called when a session has been subscribed, or has gone.

    Attributes:
        dropped: The messages that peers which were behind did not get.
        malformed: The frames that were none.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        introduce: Callable[[], Introduction],
        met: Callable[[Introduction], None],
        changed: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._introduce, self._met, self._changed = introduce, met, changed
        self._table: SubscriptionTable[Session] = SubscriptionTable()
        self._sessions: dict[bytes, Session] = {}
        self._filling: list[Session] = []
        self.dropped = 0
        self.malformed = 0
        self._pump = Pump(loop, socket, self._take)

    def subscribed(self, peer: bytes) -> bool:
        """Whether it is known what a peer subscribes to."""
        return any(
            session.subscribed and session.who.id == peer for session in self._sessions.values()
        )

    async def publish(self, subject: str, payload: bytes) -> bool:
        """Send a message to those that want it; whether there are any.

        It waits for a moment for those that are behind, after it has sent to all.
        """
        sessions = self._table.of(subject)
        if not sessions:
            return False
        record = wire.record(subject, payload)
        crowded: list[Session] = []
        dropped = self.dropped
        for session in sessions:
            self._put(session, record)
            if session.outbox.crowded:
                crowded.append(session)
        for session in crowded:
            await self._room(session)
        if self.dropped != dropped:
            # Whoever publishes without a pause would never hear that the peer has caught up.
            await asyncio.sleep(0)
        return True

    def tell_peers(self, infos: Iterable[wire.PeerInfo]) -> None:
        """Tell all sessions of other peers."""
        frame = wire.peers(infos)
        for session in list(self._sessions.values()):
            self._send(session, frame)

    def pulse(self) -> None:
        """Tell all sessions that this server lives."""
        for session in list(self._sessions.values()):
            self._send(session, wire.PULSE)

    def excuse(self, seconds: float) -> None:
        """Nobody could be heard for so long, through no fault of theirs."""
        for session in self._sessions.values():
            session.heard += seconds

    def end_silent(self, since: float) -> None:
        """End the sessions that were not heard since then."""
        for session in list(self._sessions.values()):
            if session.heard < since:
                self._end(session, Farewell.STRANGER)

    def end_all(self, farewell: Farewell) -> None:
        """Say goodbye to all."""
        for session in list(self._sessions.values()):
            self._flush(session)
            self._end(session, farewell)

    def close(self, linger: int) -> None:
        """Leave, with so many milliseconds for what is queued."""
        self.end_all(Farewell.LEAVING)
        self._pump.close(linger)

    def _put(self, session: Session, record: bytes) -> None:
        outbox = session.outbox
        dropped = outbox.dropped
        if outbox.put(record):
            self._flush(session)
        elif outbox.dropped != dropped:
            self.dropped += 1
        elif not session.filling:
            # What is published in one turn of the loop goes out in one frame.
            session.filling = True
            if not self._filling:
                self._loop.call_soon(self._flush_all)
            self._filling.append(session)

    async def _room(self, session: Session) -> None:
        outbox = session.outbox
        deadline = self._loop.time() + _LONGEST_PAUSE
        while outbox.crowded and session.route in self._sessions:
            session.moved.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await session.moved.wait()
            except TimeoutError:
                outbox.stalled = True

    def _flush_all(self) -> None:
        filling, self._filling = self._filling, []
        for session in filling:
            session.filling = False
            self._flush(session)

    def _flush(self, session: Session) -> None:
        if frame := session.outbox.take():
            self._send_counted(session, frame)

    def _send(self, session: Session, frame: bytes) -> None:
        if session.outbox.count(frame):
            self._send_counted(session, frame)
        else:
            self._end(session, Farewell.STRANGER)

    def _send_counted(self, session: Session, frame: bytes) -> None:
        try:
            self._pump.send((session.route, frame))
        except zmq.ZMQError as error:
            # EHOSTUNREACH: the connection has gone. EAGAIN: it has thousands of frames queued.
            log.debug("a session ends: %s", error)
            self._drop(session)

    def _take(self, parts: list[bytes]) -> None:
        route, *rest = parts
        try:
            if len(rest) != 1:
                raise Malformed("a message of several parts")
            self._handle(route, rest[0])
        except Malformed as error:
            self.malformed += 1
            log.debug("ignored from a peer: %s", error)

    def _handle(self, route: bytes, frame: bytes) -> None:
        kind = wire.kind_of(frame)
        session = self._sessions.get(route)
        if session is None:
            if kind is Kind.HELLO:
                self._welcome(route, wire.read_introduction(frame))
            elif kind is not Kind.BYE:
                self._say(route, Farewell.STRANGER)
            return
        session.heard = self._loop.time()
        if kind is Kind.CHANGE:
            self._change(session, wire.read_change(frame))
        elif kind is Kind.BEAT:
            number, received = wire.read_beat(frame)
            session.outbox.acknowledge(received)
            session.moved.set()
            if number != session.subscriptions.number:
                self._ask(session)
        elif kind is Kind.BYE:
            wire.read_bye(frame)
            self._drop(session)
        else:
            raise Malformed(f"a {kind.name} out of place")

    def _welcome(self, route: bytes, who: Introduction) -> None:
        if len(self._sessions) >= wire.MOST_PEERS:
            self._say(route, Farewell.FULL)
            return
        session = Session(route, who, self._loop.time())
        session.subscriptions = PeerSubscriptions(self._table, session)
        self._sessions[route] = session
        self._send(session, wire.introduction(Kind.WELCOME, self._introduce()))
        self._met(who)

    def _change(self, session: Session, change: wire.Change) -> None:
        subscriptions = session.subscriptions
        was_whole = subscriptions.whole
        try:
            applied = subscriptions.apply(change)
        except TooMany as error:
            log.warning("the peer at %s is left: %s", session.who.info.address, error)
            self._end(session, Farewell.FULL)
            return
        if not applied:
            if not session.asked:
                self._ask(session)
            return
        if change.action is wire.Action.BEGIN:
            session.asked = False
        if subscriptions.whole and not was_whole:
            self._subscribed(session)
        self._send(session, wire.ack(change.number))

    def _subscribed(self, session: Session) -> None:
        # One peer has one session: otherwise it would get things twice.
        for other in list(self._sessions.values()):
            if other is not session and other.who.id == session.who.id:
                self._end(other, Farewell.STRANGER)
        session.subscribed = True
        self._changed()

    def _ask(self, session: Session) -> None:
        session.asked = True
        self._send(session, wire.RESYNC)

    def _end(self, session: Session, farewell: Farewell) -> None:
        self._say(session.route, farewell)
        self._drop(session)

    def _say(self, route: bytes, farewell: Farewell) -> None:
        try:
            self._pump.send((route, wire.bye(farewell)))
        except zmq.ZMQError as error:
            log.debug("no goodbye: %s", error)

    def _drop(self, session: Session) -> None:
        if self._sessions.pop(session.route, None) is not None:
            session.subscriptions.end()
            session.moved.set()
            self._changed()
