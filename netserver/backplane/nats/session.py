"""Stays connected to NATS: one link after the other, with the same subscriptions."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Iterable
from typing import TypeAlias

from attrs import frozen
from nats import errors

from netserver.backplane.base import LinkState, Tell
from netserver.backplane.errors import BrokerRefuses, LinkDown
from netserver.backplane.keeper import Keeper
from netserver.backplane.nats.link import INBOX, Link
from netserver.backplane.nats.options import DEFAULT_PORT, Options
from netserver.backplane.nats.pipe import NotSecured
from netserver.backplane.url import Address
from netwire import Backoff

# A server is back two seconds after its broker; the cap leaves half of them to subscribe again.
BACKOFF = Backoff(first=0.1, cap=1.0, reset_after=5.0)

START_TIMEOUT = 3.0  # seconds; `start` returns then at the latest
REBUILD_TIMEOUT = 30.0  # seconds; for all subscriptions on a new link
LEAVE_TIMEOUT = 0.8  # seconds; for what is unsent at the end

# Subscriptions written at once.
BATCH = 1000

# Servers of a cluster that are learned from it, and tried after those in the URL.
MOST_LEARNED = 16

# The first version that tells of messages that nobody hears.
OLDEST = (2, 2)

# Subject, payload, and the header if there is one, as it came.
Sink: TypeAlias = Callable[[str, bytes, bytes | None], None]


@frozen
class Known:
    """A server to try, and the name that its certificate has to be for."""

    address: Address
    name: str

    def __str__(self) -> str:
        return str(self.address)


class Session:
    """Keeps a link up, and what is listened to. Used on the loop on which `start` was awaited.

    Args:
        options: Where to connect, and as whom.

    Attributes:
        max_payload: The most bytes of one message, as the broker said last.
    """

    def __init__(self, options: Options) -> None:
        self.max_payload = 1024 * 1024
        self._options = options
        self._keeper = Keeper(self._servers, self._join, BACKOFF, START_TIMEOUT)
        self._link: Link | None = None
        self._sids: dict[str, int] = {}
        self._routes: dict[int, tuple[str, Sink]] = {}
        self._sid = INBOX
        self._learned: list[Known] = []

    async def start(self, tell: Tell) -> None:
        """Begin to connect; as `Backplane.start`.

        Raises:
            BrokerRefuses: The first broker that was reached does not want us.
        """
        await self._keeper.start(tell)

    async def close(self) -> None:
        """Leave, after what was published has gone out or a moment. Never raises."""
        await self._keeper.close()
        link, self._link = self._link, None
        if link is not None:
            await link.leave(LEAVE_TIMEOUT)

    def restart(self, reason: str) -> None:
        """Drop a link that is up, and connect anew."""
        if self._keeper.state is LinkState.UP:
            self.link().lose(reason)

    def link(self) -> Link:
        """The link.

        Raises:
            LinkDown: It is not up.
        """
        self._keeper.require()
        assert self._link is not None
        return self._link

    async def listen(self, subjects: Iterable[str], sink: Sink) -> None:
        """Hand what arrives on these over, until `ignore`; as `Backplane.subscribe`."""
        new: list[str] = []
        for subject in subjects:
            if subject not in self._sids:
                self._sid += 1
                self._sids[subject] = self._sid
                self._routes[self._sid] = subject, sink
                new.append(subject)
        try:
            if self._link is not None:
                await self._subscribe(self._link, new)
            if self._keeper.state is LinkState.UP:
                await self.link().ping()
        except LinkDown:
            pass  # they are subscribed to when it is up

    def ignore(self, subjects: Iterable[str]) -> None:
        """Hand over nothing more of these."""
        for subject in subjects:
            sid = self._sids.pop(subject, None)
            if sid is not None:
                del self._routes[sid]
                if self._link is not None:
                    self._link.write(b"UNSUB %d\r\n" % sid)

    async def _subscribe(self, link: Link, subjects: list[str]) -> None:
        for start in range(0, len(subjects), BATCH):
            await link.room()
            lines = [
                f"SUB {subject} {sid}\r\n"
                for subject in subjects[start : start + BATCH]
                if (sid := self._sids.get(subject)) is not None
            ]
            link.write("".join(lines).encode())

    def _deliver(self, sid: int, payload: bytes, header: bytes | None) -> None:
        route = self._routes.get(sid)
        if route is not None and self._keeper.state is not LinkState.CLOSED:
            route[1](route[0], payload, header)

    def _servers(self) -> list[Known]:
        named = [Known(each, each.host) for each in self._options.servers]
        return random.sample(named, len(named)) + random.sample(self._learned, len(self._learned))

    async def _join(self, server: Known) -> None:
        """Have a link with all subscriptions; as `Keeper` wants it."""
        link = Link(self._deliver, lambda reason: self._lost(link, reason))
        try:
            await link.open(
                server.address, self._options.context, server.name, self._options.secret()
            )
            await self._prepare(link, server)
        except (OSError, ValueError, errors.Error) as error:  # LinkDown, TimeoutError are of these
            why = error.reason if isinstance(error, LinkDown) else str(error)
            refused = BrokerRefuses if _is_final(error) else LinkDown
            raise refused(f"{server}: {why or type(error).__name__}") from error
        self.max_payload = link.max_payload
        user, password = server.address.user, server.address.password
        self._learned = [
            Known(Address(each.hostname, each.port or DEFAULT_PORT, user, password), server.name)
            for each in link.discovered_servers[:MOST_LEARNED]
            if each.hostname
        ]

    async def _prepare(self, link: Link, server: Known) -> None:
        version = link.connected_server_version
        if (version.major, version.minor) < OLDEST:
            await link.leave(0)
            oldest = ".".join(map(str, OLDEST))
            raise BrokerRefuses(f"{server} is older than {oldest}: {version}")
        self._link = link
        try:
            async with asyncio.timeout(REBUILD_TIMEOUT):
                await self._subscribe(link, list(self._sids))
                confirmed = -1
                while confirmed != self._sid:  # more may have come meanwhile
                    confirmed = self._sid
                    await link.ping()
        except TimeoutError:
            self._link = None
            await link.leave(0)
            raise

    def _lost(self, link: Link, reason: str) -> None:
        if link is self._link:
            self._link = None
            self._keeper.lost(reason)


def _is_final(error: Exception) -> bool:
    """Whether the same would happen again, until somebody changes a setting."""
    if isinstance(error, ssl.SSLError):
        return not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)
    return isinstance(error, NotSecured) or "authorization violation" in str(error).lower()
