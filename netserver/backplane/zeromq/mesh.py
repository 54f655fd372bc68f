"""This server's links to all others: found, kept, and replaced when they are lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import zmq

from netserver.backplane.url import Address
from netserver.backplane.zeromq import sockets, wire
from netserver.backplane.zeromq.address_book import AddressBook, Origin, Phase
from netserver.backplane.zeromq.dialer import Dialer
from netserver.backplane.zeromq.link import Link, LinkLost
from netserver.backplane.zeromq.publisher import Publisher
from netserver.backplane.zeromq.wire import Action, Farewell, Introduction, PeerInfo

log = logging.getLogger(__name__)

# Each end of a link is heard of so often, seconds, and taken for gone after so long a silence.
BEAT = 1.0
SILENCE = 3.0

# How often it is looked what is due, seconds. A look that comes much later was held up together
# with everything else on this loop, so that nobody could be heard.
_TICK = 0.5
_HELD_UP = 1.0

# All peers are told of all others again so often, seconds: two that have lost and forgotten each
# other find each other through a third.
_GOSSIP = 10.0

# How often a DNS name is looked up, seconds.
_LOOK_UP_EVERY = 5.0

# So long a peer may be silent while it should acknowledge a subscription, seconds.
_LONGEST_ACKNOWLEDGEMENT = 1.0


class Mesh:
    """Subscribes at all peers, and lets them subscribe here. On the loop's thread.

    Args:
        router: The socket that peers connect to, bound.
        dialer: Connects to peers.
        me: This server.
        subjects: What is subscribed to; `subscribe` and `unsubscribe` change it.
        receive: Called with each message on one of them.

    Attributes:
        addresses: Those known.
        publisher: What peers hear from here.
        malformed: Frames on links that were none.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        router: zmq.Socket[bytes],
        dialer: Dialer,
        me: Introduction,
        subjects: set[str],
        receive: Callable[[str, bytes], None],
    ) -> None:
        self._loop, self._me = loop, me
        self._subjects, self._receive = subjects, receive
        self._dialer = dialer
        self._links: dict[Address, Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changes = asyncio.Event()
        self._untold: dict[str, Action] = {}
        self._round: asyncio.Task[None] | None = None
        self.addresses = AddressBook(me.id, me.info.address, random.random)
        self.publisher = Publisher(loop, router, self._introduce, self._called, self._changes.set)
        self.malformed = 0

    @property
    def links(self) -> int:
        """How many peers there are."""
        return len(self._links)

    def start(self, listed: Iterable[Address], name: Address | None) -> None:
        """Begin to look for peers.

        Args:
            listed: Where they are, tried for ever.
            name: A DNS name and port under which they are.
        """
        for address in listed:
            self.addresses.add(PeerInfo(address), Origin.LISTED, self._loop.time())
        self._spawn(self._keep())
        if name is not None:
            self._spawn(self._follow(name))
        self._try_due()

    async def settle(self, deadline: float) -> None:
        """Wait for links in both directions with all peers known, or until the deadline.

        Args:
            deadline: Seconds of the loop's clock.
        """
        try:
            async with asyncio.timeout_at(deadline):
                while not self._settled():
                    self._changes.clear()
                    await self._changes.wait()
        except TimeoutError:
            log.info("not all peers have answered in time")

    async def subscribe(self, subjects: Iterable[str]) -> None:
        """Returns when all peers that are up have taken it over, or were taken for gone."""
        for subject in subjects:
            if subject not in self._subjects:
                self._subjects.add(subject)
                self._untold[subject] = Action.ADD
        # With nothing new, what was new a moment ago may still be on its way. Waited for so, since
        # the round ends by being cancelled when this closes.
        await asyncio.wait([self._next_round()])

    def unsubscribe(self, subjects: Iterable[str]) -> None:
        """Tell all peers; what is still on its way is ignored."""
        for subject in subjects:
            if subject in self._subjects:
                self._subjects.discard(subject)
                self._untold[subject] = Action.REMOVE
        self._next_round()

    def drop_all(self, why: str) -> None:
        """End all links, and begin again."""
        for link in list(self._links.values()):
            self._give_up(link, why)
        self.publisher.end_all(Farewell.STRANGER)
        self.addresses.again(self._loop.time())
        self._try_due()

    async def close(self, linger: int) -> None:
        """Leave; what was sent has so many milliseconds to go out."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for link in self._links.values():
            link.close(Farewell.LEAVING, linger)  # tells nothing more, `lost` neither
        self._links.clear()
        self.publisher.close(linger)
        await asyncio.gather(*tasks, return_exceptions=True)

    # What links tell: see `LinkOwner`.

    def whole(self) -> Iterable[str]:
        return self._subjects

    def arrived(self, link: Link, frame: bytes) -> None:
        subjects, receive = self._subjects, self._receive
        for subject, payload in wire.read_data(frame):
            if subject in subjects:
                receive(subject, payload)

    def told(self, infos: list[PeerInfo]) -> None:
        for info in infos:
            self.addresses.add(info, Origin.TOLD, self._loop.time())
        self._try_due()

    def acknowledged(self, link: Link) -> None:
        who = link.greeting.result()
        log.info("the peer at %s is there", who.info.address)
        self.publisher.tell_peers([who.info])
        self._changes.set()

    def mistaken(self, error: wire.Malformed) -> None:
        self.malformed += 1
        log.debug("ignored from a peer: %s", error)

    def lost(self, link: Link, error: LinkLost) -> None:
        for address, each in list(self._links.items()):
            if each is link:
                log.info("the peer at %s is lost: %s", address, error.reason)
                del self._links[address]
                self.addresses.lost(address, self._loop.time(), left=error.left)
        self._changes.set()

    def _next_round(self) -> asyncio.Task[None]:
        """What tells the peers of the changes of this turn of the loop, all at once."""
        if self._round is None:
            self._round = self._spawn(self._tell())
        return self._round

    async def _tell(self) -> None:
        self._round = None
        untold, self._untold = self._untold, {}
        waiting: dict[asyncio.Future[None], Link] = {}
        for link in list(self._links.values()):
            for action in (Action.REMOVE, Action.ADD):
                link.change(action, wire.chunks(s for s, what in untold.items() if what is action))
            waiting[link.acknowledgement()] = link
        begun = self._loop.time()
        late: set[asyncio.Future[None]] = set(waiting)
        while late:
            _, late = await asyncio.wait(late, timeout=_LONGEST_ACKNOWLEDGEMENT)
            now = self._loop.time()
            for future in late:
                link = waiting[future]
                # This loop may have been the one that was held up, and much may have been asked.
                link.read()
                silent = now - link.heard > _LONGEST_ACKNOWLEDGEMENT
                if silent or now - max(begun, link.advanced) > SILENCE:
                    self._give_up(link, "it does not acknowledge")

    def _give_up(self, link: Link, why: str) -> None:
        link.close(Farewell.LEAVING)
        self.lost(link, LinkLost(why))

    def _introduce(self) -> Introduction:
        return Introduction(self._me.id, self._me.info, tuple(self.addresses.up))

    def _called(self, who: Introduction) -> None:
        if who.id != self._me.id:
            self.addresses.calls(who.info, self._loop.time())
            self._try_due()

    def _settled(self) -> bool:
        return self.addresses.settled and all(
            link.synced and self.publisher.subscribed(link.greeting.result().id)
            for link in self._links.values()
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _try_due(self) -> None:
        for address in self.addresses.take_due(self._loop.time()):
            self._spawn(self._try(address))

    async def _try(self, address: Address) -> None:
        try:
            link, key = await self._dialer.reach(address, self.addresses.key(address), self)
        except OSError as error:
            log.debug("no peer at %s: %r", address, error)
            self.addresses.lost(address, self._loop.time())
            self._changes.set()
            return
        who = link.greeting.result()
        info = PeerInfo(who.info.address, key)
        phase = self.addresses.met(address, who.id, info, self._loop.time())
        if phase is Phase.UP and not link.closed:
            self._links[address] = link
            link.resync()
            self.told(list(who.others))
        elif phase is Phase.UP:
            self.addresses.lost(address, self._loop.time())
        else:
            link.close(Farewell.LEAVING)
        self._changes.set()

    async def _keep(self) -> None:
        """Send beats, end what is silent, and try what is due."""
        loop, publisher = self._loop, self.publisher
        looked = loop.time()
        next_beat = next_gossip = looked
        while True:
            await asyncio.sleep(_TICK)
            now = loop.time()
            if (late := now - looked - _TICK) > _HELD_UP:
                publisher.excuse(late)
                for link in self._links.values():
                    link.heard += late
            looked = now
            if now >= next_beat:
                next_beat = now + BEAT - _TICK / 2
                publisher.pulse()
                for link in list(self._links.values()):
                    link.beat()
            if now >= next_gossip:
                next_gossip = now + _GOSSIP
                publisher.tell_peers(self.addresses.up)
            for link in list(self._links.values()):
                if link.heard < now - SILENCE:
                    self._give_up(link, "it is silent")
            publisher.end_silent(now - SILENCE)
            self.addresses.forget(now)
            self._try_due()

    async def _follow(self, name: Address) -> None:
        """Look up a DNS name again and again."""
        while True:
            try:
                ips = await sockets.look_up(name.host, name.port)
            except OSError as error:
                # A name server that is not there takes no peer away.
                log.debug("%s is not found: %s", name.host, error)
            else:
                self.addresses.named([Address(ip, name.port) for ip in ips], self._loop.time())
                self._try_due()
                self._changes.set()
            await asyncio.sleep(_LOOK_UP_EVERY)
