"""Stays connected to NATS: one link after the other, with the same subscriptions."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Iterable
from typing import TypeAlias

from nats import errors

from netserver.backplane.base import LinkState, Tell
from netserver.backplane.errors import BackplaneError, LinkDown
from netserver.backplane.nats_link import INBOX, Link
from netserver.backplane.nats_options import DEFAULT_PORT, NatsOptions
from netserver.backplane.nats_pipe import NotSecured
from netserver.backplane.url import Address
from netwire import Backoff
from netwire.backoff import Retry

# The cap is what a server may be away at most when its broker is back.
BACKOFF = Backoff(first=0.1, cap=1.5, reset_after=5.0)

START_TIMEOUT = 3.0  # seconds; `start` returns then at the latest
REBUILD_TIMEOUT = 30.0  # seconds; for all subscriptions on a new link
LEAVE_TIMEOUT = 0.8  # seconds; for what is unsent at the end

# Subscriptions written at once.
BATCH = 1000

# Servers of a cluster that are learned from it, and tried after those in the URL.
MOST_LEARNED = 16

# Reasons for having no link that are remembered, to be logged once only.
MOST_COMPLAINTS = 64

# The first version that tells of messages that nobody hears.
OLDEST = (2, 2)

# Subject, payload, and the header if there is one, as it came.
Sink: TypeAlias = Callable[[str, bytes, bytes | None], None]

_logger = logging.getLogger(__name__)


class _Refused(BackplaneError):
    """The broker does not want us, or we do not want it; trying again is of no use."""


class Session:
    """Keeps a link up, and what is listened to. Used on the loop on which `start` was awaited.

    Args:
        options: Where to connect, and as whom.

    Attributes:
        state: How the link stands; up when it has all subscriptions.
        max_payload: The most bytes of one message, as the broker said last.
    """

    def __init__(self, options: NatsOptions) -> None:
        self.state = LinkState.DOWN
        self.max_payload = 1024 * 1024
        self._options = options
        self._link: Link | None = None
        self._sids: dict[str, int] = {}
        self._routes: dict[int, tuple[str, Sink]] = {}
        self._sid = INBOX
        self._learned: list[tuple[Address, str]] = []
        self._complaints: set[str] = set()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self, tell: Tell) -> None:
        """Begin to connect; as `Backplane.start`.

        Raises:
            BackplaneError: The broker refuses it.
        """
        self._tell = tell
        self._gone = asyncio.Event()
        tried: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(tried))
        await asyncio.wait(
            [tried, self._keeper], timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
        )
        if self._keeper.done():
            await self._keeper
        elif not tried.done():
            tried.set_result(None)

    async def close(self) -> None:
        """Leave, after what was published has gone out or a moment. Never raises."""
        self.state = LinkState.CLOSED
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        link, self._link = self._link, None
        if link is not None:
            await link.leave(LEAVE_TIMEOUT)

    def restart(self, reason: str) -> None:
        """Drop a link that is up, and connect anew."""
        if self.state is LinkState.UP and self._link is not None:
            self._link.lose(reason)

    def link(self) -> Link:
        """The link.

        Raises:
            LinkDown: It is not up.
        """
        if self.state is not LinkState.UP or self._link is None:
            raise LinkDown("it is closed" if self.state is LinkState.CLOSED else "no connection")
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
            if self.state is LinkState.UP:
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
        if route is not None and self.state is not LinkState.CLOSED:
            route[1](route[0], payload, header)

    async def _keep(self, tried: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        retry = Retry(BACKOFF)
        while True:
            lived = 0.0
            for server, name in self._servers():
                try:
                    await self._join(server, name)
                except _Refused as error:
                    if not tried.done():
                        raise
                    self._complain(str(error))
                    continue
                except (OSError, ValueError, errors.Error, LinkDown) as error:
                    self._complain(f"{server}: {str(error) or type(error).__name__}")
                    continue
                except Exception:  # of a library's bug we cannot know; giving up would be worse
                    _logger.exception("%s cannot be joined", server)
                    continue
                if not tried.done():
                    tried.set_result(None)
                joined = loop.time()
                await self._gone.wait()
                lived = loop.time() - joined
                break
            if not tried.done():
                tried.set_result(None)
            delay = retry.next_delay(lived, random.random)
            assert delay is not None
            await asyncio.sleep(delay)

    def _complain(self, why: str) -> None:
        # Once each, until it is up: it may go on for days.
        level = logging.DEBUG if why in self._complaints else logging.WARNING
        _logger.log(level, "no connection: %s", why)
        if len(self._complaints) < MOST_COMPLAINTS:
            self._complaints.add(why)

    def _servers(self) -> list[tuple[Address, str]]:
        """Those to try, in turn, and the names that their certificates have to be for."""
        named = [(each, each.host) for each in self._options.servers]
        return random.sample(named, len(named)) + random.sample(self._learned, len(self._learned))

    async def _join(self, server: Address, name: str) -> None:
        """Have a link with all subscriptions."""
        self._gone.clear()
        link = Link(self._deliver, lambda reason: self._lost(link, reason))
        try:
            await link.open(server, self._options.context, name, self._options.secret())
        except (OSError, errors.Error) as error:
            if _is_final(error):
                raise _Refused(f"{server}: {error}") from error
            raise
        version = link.connected_server_version
        if (version.major, version.minor) < OLDEST:
            await link.leave(0)
            raise _Refused(f"{server} is older than {'.'.join(map(str, OLDEST))}: {version}")
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
        self.max_payload = link.max_payload
        self._learned = [
            (Address(each.hostname, each.port or DEFAULT_PORT, server.user, server.password), name)
            for each in link.discovered_servers[:MOST_LEARNED]
            if each.hostname
        ]
        self._complaints.clear()
        self._become(LinkState.UP, f"connected to {server}")

    def _lost(self, link: Link, reason: str) -> None:
        if link is self._link:
            self._link = None
            self._gone.set()
            if self.state is LinkState.UP:
                self._become(LinkState.DOWN, reason)

    def _become(self, state: LinkState, why: str) -> None:
        self.state = state
        self._tell(state, why)


def _is_final(error: Exception) -> bool:
    """Whether the same would happen again, until somebody changes a setting."""
    if isinstance(error, ssl.SSLError):
        return not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)
    return isinstance(error, NotSecured) or "authorization violation" in str(error).lower()
