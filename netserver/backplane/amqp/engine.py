"""``amqp://``: each server has a queue of its own at the broker, bound by subject."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import ClassVar, cast

from pamqp.base import Frame
from pamqp.commands import Basic, Exchange, Queue
from pamqp.common import FieldTable

from netserver.backplane.amqp.link import Link
from netserver.backplane.amqp.options import Options
from netserver.backplane.base import Backplane, LinkState, Receive, Tell, check_subject
from netserver.backplane.errors import BrokerRefuses, LinkDown, PayloadTooLarge
from netserver.backplane.url import Address, BackplaneUrl
from netwire import Backoff, Retry

log = logging.getLogger(__name__)

# A server is back two seconds after its broker; the cap leaves half of them to bind its subjects.
BACKOFF = Backoff(first=0.1, cap=1.0)

# Seconds for one broker to take a connection and the credentials.
CONNECT_TIMEOUT = 5.0

# Seconds that `start` waits for the first attempt at all of them.
START_TIMEOUT = 6.0

# Bytes that the broker keeps for a server that is slow; then the oldest are dropped.
QUEUE_BYTES = 16 * 1024 * 1024

# Reply codes with which another attempt would end the same way: no such path, access refused, an
# exchange of another kind, not allowed (that is what becomes of a virtual host that is not there).
_FINAL = (402, 403, 406, 530)


class AmqpBackplane(Backplane):
    """One server's end at RabbitMQ: a queue of its own, bound to one direct exchange by subject.

    `restart` leaves a link as it is that the broker blocks: it is slow, and has said so.

    Args:
        url: As the package tells.

    Raises:
        BackplaneUrlError: As `Options.read`.
    """

    schemes: ClassVar[tuple[str, ...]] = ("amqp", "amqps")

    def __init__(self, url: BackplaneUrl) -> None:
        self._options = Options.read(url)
        self._servers = deque(self._options.servers)  # the next to be tried is the first
        self._name = secrets.token_hex(8)  # tells our own messages from others'
        self._subjects: dict[str, None] = {}  # in order
        self._link: Link | None = None  # None while the state is not up
        self._queue = ""
        self._why = "it was not started"
        self._connecting: asyncio.Task[None] | None = None

    async def start(self, receive: Receive, tell: Tell) -> None:
        self._receive = receive
        self._tell = tell
        tried: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connecting = asyncio.create_task(self._keep_connected(tried))
        await asyncio.wait([tried], timeout=START_TIMEOUT)
        if not tried.cancel():  # from now on, the state tells
            tried.result()

    async def publish(
        self, subject: str, payload: bytes, unheard: Callable[[], None] | None = None
    ) -> None:
        check_subject(subject)
        if len(payload) > self.max_payload:
            raise PayloadTooLarge(len(payload), self.max_payload)
        link = self._require_link()
        await link.publish(self._options.exchange, subject, self._name, payload, unheard)

    async def subscribe(self, subjects: Iterable[str]) -> None:
        wanted = [check_subject(subject) for subject in subjects]
        self._subjects.update(dict.fromkeys(wanted))
        await self._ask([self._bind(subject) for subject in wanted])

    async def unsubscribe(self, subjects: Iterable[str]) -> None:
        unwanted = [subject for subject in subjects if subject in self._subjects]
        for subject in unwanted:
            self._subjects.pop(subject, None)
        await self._ask([self._unbind(subject) for subject in unwanted])

    async def probe(self) -> None:
        # Channels deal with one thing after the other: it has dealt with all that came before.
        await self._require_link().ask([self._declare_exchange(passive=True)])

    async def restart(self, reason: str) -> None:
        # One that blocks us says that it is there; if it goes meanwhile, its heartbeats end.
        if self._link is not None and not self._link.blocked:
            self._link.fail(reason)

    async def close(self) -> None:
        self.state = LinkState.CLOSED
        self._why = "it is closed"
        link, self._link = self._link, None
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if link is not None:
            await link.close()

    # The connection.

    async def _keep_connected(self, tried: asyncio.Future[None]) -> None:
        """Connect, and do so again whenever the link is lost; until cancelled."""
        retry = Retry(BACKOFF)
        loop = asyncio.get_running_loop()
        while True:
            lived = 0.0
            try:
                link, lost = await self._connect()
            except BrokerRefuses as error:
                if not tried.done():
                    tried.set_exception(error)
                    return
                self._note_failure(error)
            except LinkDown as error:
                self._note_failure(error)
            else:
                if not tried.done():
                    tried.set_result(None)
                began = loop.time()
                await lost.wait()
                lived = loop.time() - began
                await link.ended()
            if not tried.done():
                tried.set_result(None)
            delay = retry.next_delay(lived, random.random)
            assert delay is not None  # it never gives up
            await asyncio.sleep(delay)

    async def _connect(self) -> tuple[Link, asyncio.Event]:
        """Reach one of the brokers; what it returns is up, and its event tells of its end.

        Raises:
            LinkDown: None can be reached; the reason is that of the last one.
            BrokerRefuses: One has a reason that will be the same the next time.
        """
        why = ""
        for _ in self._options.servers:
            server = self._servers[0]
            self._servers.rotate(-1)  # so that after this one is lost, the next is tried first
            lost = asyncio.Event()
            link = Link(self._arrive, partial(self._lose, lost), self.max_payload)
            try:
                await self._join(link, server)
            except (OSError, UnicodeError, LinkDown, TimeoutError) as error:
                why = f"{server}: {_words(error)}"
                if link.code in _FINAL:
                    raise BrokerRefuses(why) from error
            else:
                self._link = link
                self._become(LinkState.UP, f"connected to {server}")
                return link, lost
            finally:
                if self._link is not link:
                    link.fail("it was given up")
                    await link.ended()
        raise LinkDown(why)

    async def _join(self, link: Link, server: Address) -> None:
        """Connect, and have the broker's queue and all subscriptions made."""
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await asyncio.get_running_loop().create_connection(
                lambda: link, server.host, server.port, ssl=self._options.context
            )
            await link.open(self._options.login)
            await link.ask([self._declare_exchange()])
            limit: FieldTable = {"x-max-length-bytes": QUEUE_BYTES, "x-overflow": "drop-head"}
            declare = Queue.Declare(exclusive=True, auto_delete=True, arguments=limit)
            self._queue = cast(Queue.DeclareOk, await link.ask([declare])).queue or ""
            await link.ask([Basic.Consume(queue=self._queue, no_ack=True, exclusive=True)])
        # While they are bound, others may come and go.
        bound: set[str] = set()
        while changed := self._subjects.keys() ^ bound:
            if new := changed - bound:
                await link.ask([self._bind(subject) for subject in new])
            if old := changed & bound:
                await link.ask([self._unbind(subject) for subject in old])
            bound ^= changed
        if link.why is not None:  # the last answer was its last word
            raise LinkDown(link.why)

    def _note_failure(self, error: LinkDown | BrokerRefuses) -> None:
        # Once for each reason: attempts go on for as long as the broker is away.
        level = logging.DEBUG if error.reason == self._why else logging.WARNING
        log.log(level, "cannot connect: %s", error.reason)
        self._why = error.reason

    def _lose(self, lost: asyncio.Event, why: str) -> None:
        lost.set()
        if self._link is not None:
            self._link = None
            self._become(LinkState.DOWN, why)

    def _become(self, state: LinkState, why: str) -> None:
        self.state = state
        self._why = why
        self._tell(state, why)

    def _require_link(self) -> Link:
        if self._link is None:
            raise LinkDown(self._why)
        return self._link

    # What is said and heard on it.

    def _arrive(self, subject: str, sender: str | None, payload: bytes) -> None:
        # What comes before all is bound, or after unsubscribing, is for nobody.
        if sender != self._name and self.state is LinkState.UP and subject in self._subjects:
            self._receive(subject, payload)

    async def _ask(self, questions: Sequence[Frame]) -> None:
        if self._link is None or not questions:
            return  # all is bound anew when it is up
        try:
            await self._link.ask(questions)
        except LinkDown:
            pass  # the same

    def _declare_exchange(self, passive: bool = False) -> Frame:
        return Exchange.Declare(exchange=self._options.exchange, passive=passive)

    def _bind(self, subject: str) -> Frame:
        return Queue.Bind(queue=self._queue, exchange=self._options.exchange, routing_key=subject)

    def _unbind(self, subject: str) -> Frame:
        return Queue.Unbind(queue=self._queue, exchange=self._options.exchange, routing_key=subject)


def _words(error: Exception) -> str:
    if isinstance(error, LinkDown):
        return error.reason
    return "it does not answer" if isinstance(error, TimeoutError) else str(error)
