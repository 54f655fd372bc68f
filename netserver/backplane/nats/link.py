"""One connection to a NATS server: nats-py's handshake and parser, and a short way in and out.

nats-py's client is built for a few subscriptions: each has a queue, and a task where it has a
callback. Its flush sends a PING ahead of what waits to be sent, its publish buffers beyond its
limit when the broker hangs and swallows a cancellation, and a PONG for a flush that was given up
ends its reading. So a `Link` takes from it what is hard - TLS, credentials and the protocol - and
goes past the rest in four places, all named in this file:

- ``_process_msg``, ``_process_ping`` and ``_process_pong``, which its parser calls, are ours: what
  arrives is handed on at once, with no queue and no task;
- ``_transport`` is a `Pipe`, into which a `Link` writes by itself;
- ``_reading_task`` tells, by its end, that the connection has been lost, for whatever reason;
- it never reconnects: a lost link is replaced by a new one.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from nats import errors
from nats.aio.client import Client

from netserver.backplane.errors import LinkDown
from netserver.backplane.nats.inbox import SETTLE_FROM, STATUS, Answer, Inbox
from netserver.backplane.nats.pipe import Pipe
from netserver.backplane.url import Address

# Longest wait for each step of connecting, seconds: TCP, the greeting, TLS, the answer.
CONNECT_TIMEOUT = 2

# Bytes that may be unsent before whoever publishes waits.
MOST_UNSENT = 256 * 1024

# The id of its own subscription; those that it delivers from are higher.
INBOX = 1

# From here on the ids of subscriptions for one request.
FIRST_OWN = 1 << 40

# How long it may be open whether a message was heard, seconds, until the link asks.
SETTLE_AFTER = 1.0

# Subscription id, payload, and the header if there is one, as it came.
Deliver: TypeAlias = Callable[[int, bytes, bytes | None], None]

_logger = logging.getLogger(__name__)


class Link(Client):
    """One connection, from `open` until it is lost or left. Used on one event loop.

    Args:
        deliver: Called with what arrives on subscriptions; must not raise.
        lost: Called once, with the reason, when the link is lost, but not when it is left.

    Attributes:
        alive: Whether it is there.
    """

    def __init__(self, deliver: Deliver, lost: Callable[[str], None]) -> None:
        super().__init__()
        self.alive = False
        self._deliver = deliver
        self._lost = lost
        self._inbox = Inbox()
        self._pings: deque[asyncio.Future[None]] = deque()
        self._waiting: set[asyncio.Future[Any]] = set()
        self._collecting: dict[int, Answer] = {}
        self._last_own = FIRST_OWN
        self._settling: asyncio.Future[None] | None = None
        self._settle_timer: asyncio.TimerHandle | None = None
        self._disposal: asyncio.Task[None] | None = None
        self._reason = "it is not connected"

    async def open(
        self, server: Address, context: ssl.SSLContext | None, host: str, secret: dict[str, Any]
    ) -> None:
        """Connect to one server.

        Args:
            server: Where, and the user and password to tell it.
            context: For TLS; None where it is not insisted on.
            host: The name that its certificate has to be for.
            secret: The token or keys, as nats-py takes them.

        Raises:
            OSError, TimeoutError, ValueError, nats.errors.Error: It cannot.
        """
        self._loop = asyncio.get_running_loop()
        self._pipe = self._transport = Pipe(secured=context is not None)
        try:
            await self.connect(
                [f"nats://{server}"],
                error_cb=self._fail,
                name="foreman",
                allow_reconnect=False,
                connect_timeout=CONNECT_TIMEOUT,
                ping_interval=1 << 30,  # whoever wants to know whether the broker hangs, probes
                no_echo=True,
                tls=context,
                tls_hostname=host,
                user=server.user,
                password=server.password,
                **secret,
            )
            if not self.is_connected or self._reading_task is None:
                raise errors.Error("the broker ended the connection")
        except BaseException:
            await self._dispose()
            raise
        self.alive = True
        self._reading_task.add_done_callback(self._reading_ended)
        self.write(f"SUB {self._inbox.subject}.* {INBOX}\r\n".encode())

    @property
    def full(self) -> bool:
        """Whether to wait for `room` before publishing more."""
        return self._pipe.unsent > MOST_UNSENT

    async def room(self) -> None:
        """Wait until the broker takes more.

        Raises:
            LinkDown: It was lost.
        """
        while self.check() and self.full:
            self._pipe.push()
            try:
                await self._pipe.drain()  # type: ignore[no-untyped-call]
            except OSError as error:
                raise LinkDown(str(error)) from None

    def check(self) -> bool:
        """True if it is there.

        Raises:
            LinkDown: It is not.
        """
        if not self.alive:
            raise LinkDown(self._reason)
        return True

    def write(self, *parts: bytes) -> None:
        """Send parts of the protocol, at the end of this round of the loop at the latest."""
        if self.alive:
            self._pipe.put(*parts)

    def publish_now(self, subject: str, payload: bytes, reply: str = "", header: str = "") -> None:
        """Publish a message, whatever the broker takes.

        Args:
            reply: Where answers go; "" for nowhere.
            header: NATS's header, from its version to its empty line; "" for none.
        """
        size = len(header) + len(payload)
        if header:
            start = f"HPUB {subject} {reply} {len(header)} {size}\r\n{header}"
        else:
            start = f"PUB {subject} {reply} {size}\r\n"
        self.write(start.encode(), payload, b"\r\n")

    async def publish_asking(
        self, subject: str, payload: bytes, unheard: Callable[[], None]
    ) -> None:
        """Publish a message, and hear of it if nobody subscribes.

        Raises:
            LinkDown: It was lost.
        """
        if len(self._inbox.unheard) >= SETTLE_FROM:
            self._settle()
            while self._inbox.unheard.full:
                await self.ping()
                self._settle()
        elif self._settle_timer is None:
            self._settle_timer = self._loop.call_later(SETTLE_AFTER, self._settle)
        self.publish_now(subject, payload, self._inbox.publishing(unheard))

    async def ask(
        self, subject: str, payload: bytes, timeout: float, header: str = ""
    ) -> tuple[bytes, bytes | None]:
        """Publish a message, and wait for the first answer: its payload, and header if it has one.

        Raises:
            LinkDown: It was lost.
            TimeoutError: There was none for so many seconds.
        """
        answered = self._future()

        def answer(_: bytes, payload: bytes, header: bytes | None) -> None:
            if not answered.done():
                answered.set_result((payload, header))

        reply = self._inbox.asking(answer)
        try:
            async with asyncio.timeout(timeout):
                await self.room()
                self.publish_now(subject, payload, reply, header)
                result: tuple[bytes, bytes | None] = await answered
        finally:
            self._inbox.forget(reply)
        return result

    async def collect(
        self, subject: str, payload: bytes, most: int, timeout: float
    ) -> list[tuple[bytes, bytes]]:
        """Publish a request, and wait for many answers, which may bear other subjects.

        Args:
            most: No more are waited for; none behind one that has a status either.

        Returns:
            The subject for a reply, and the payload, of each in order.

        Raises:
            LinkDown: It was lost.
            TimeoutError: They were not there after so many seconds.
        """
        collected: list[tuple[bytes, bytes]] = []
        complete = self._future()

        def take(reply: bytes, payload: bytes, header: bytes | None) -> None:
            if complete.done():
                return
            ended = header is not None and header.startswith(STATUS)
            if not ended:
                collected.append((reply, payload))
            if ended or len(collected) == most:
                complete.set_result(None)

        self._last_own = sid = self._last_own + 1
        self._collecting[sid] = take
        own = f"{self._inbox.subject}.{sid}.all"
        self.write(f"SUB {own} {sid}\r\n".encode())
        try:
            async with asyncio.timeout(timeout):
                await self.room()
                self.publish_now(subject, payload, own)
                await complete
        finally:
            del self._collecting[sid]
            self.write(b"UNSUB %d\r\n" % sid)
        return collected

    async def ping(self) -> None:
        """Go to the broker and back; it has then dealt with all that was written before.

        Raises:
            LinkDown: It was lost meanwhile.
        """
        self.check()
        await self._ping()

    def lose(self, reason: str) -> None:
        """Drop the connection, with what is unsent, and tell it; nothing if it is gone already."""
        if self.alive:
            self._drop(reason)
            self._lost(reason)

    async def leave(self, patience: float) -> None:
        """Drop the connection, after what was written has gone out or so many seconds."""
        try:
            async with asyncio.timeout(patience):
                await self.ping()
        except (TimeoutError, LinkDown):
            pass
        if self.alive:
            self._drop("it was left")
        if self._disposal is not None:
            await self._disposal

    def _drop(self, reason: str) -> None:
        self.alive = False
        self._reason = reason
        self._pings.clear()
        for each in self._waiting:
            if not each.done():  # in this very round of the loop
                each.set_exception(LinkDown(reason))
                each.exception()  # seen, even if nobody waits for it any more
        if self._settle_timer is not None:
            self._settle_timer.cancel()
        self._disposal = self._loop.create_task(self._dispose())

    async def _dispose(self) -> None:
        self._pipe.close()  # nats-py before 2.16 leaves it open, where the broker has gone first
        await self.close()

    def _future(self) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    def _ping(self) -> asyncio.Future[None]:
        answered = self._future()
        self._pings.append(answered)
        self.write(b"PING\r\n")
        self._pipe.push()
        return answered

    def _settle(self) -> None:
        if self._settle_timer is not None:
            self._settle_timer.cancel()
            self._settle_timer = None
        if self._settling is None or self._settling.done():
            number = self._inbox.unheard.ask()
            self._settling = self._ping()
            self._settling.add_done_callback(lambda _: self._inbox.unheard.settle(number))

    def _reading_ended(self, _: asyncio.Task[None]) -> None:
        self.lose(str(self.last_error or "the broker ended the connection"))

    async def _fail(self, error: Exception) -> None:
        if self.is_connected:
            if not isinstance(error, errors.UnexpectedEOF):  # of which `lost` is told
                _logger.warning("the broker says: %s", error)
        else:
            raise error  # out of `connect`, which would try again for ever

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        if not self.alive:
            return
        if sid == INBOX:
            self._inbox.take(subject, reply, data, headers)
        elif sid > FIRST_OWN:
            if take := self._collecting.get(sid):
                take(reply, data, headers)
        else:
            self._deliver(sid, data, headers)

    async def _process_ping(self) -> None:
        self.write(b"PONG\r\n")

    async def _process_pong(self) -> None:
        if self._pings:
            answered = self._pings.popleft()
            if not answered.done():  # as it is when whoever waited has given up
                answered.set_result(None)
