"""Stays connected to RabbitMQ: one link after the other, each with a queue and its bindings."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias, cast

from pamqp.base import Frame
from pamqp.commands import Basic, Exchange, Queue
from pamqp.common import FieldTable

from netserver.backplane.amqp.link import Link
from netserver.backplane.amqp.options import Options
from netserver.backplane.base import LinkState, Tell
from netserver.backplane.errors import BrokerRefuses, LinkDown
from netserver.backplane.keeper import Keeper
from netserver.backplane.url import Address
from netwire import Backoff

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

# Subject and payload.
Sink: TypeAlias = Callable[[str, bytes], None]


class Session:
    """Keeps a link up, and what is listened to. Used on the loop on which `start` was awaited.

    Args:
        options: Where to connect, and as whom.
        most: The most bytes of a message that is taken.
        sink: Called with what arrives on the subjects that are listened to.
    """

    def __init__(self, options: Options, most: int, sink: Sink) -> None:
        self._options = options
        self._most = most
        self._sink = sink
        self._keeper = Keeper(self._turns, self._join, BACKOFF, START_TIMEOUT)
        self._servers = deque(options.servers)  # the next to be tried is the first
        self._name = secrets.token_hex(8)  # tells our own messages from others'
        self._subjects: dict[str, None] = {}  # in order
        self._link: Link | None = None  # the last
        self._queue = ""

    async def start(self, tell: Tell) -> None:
        """Begin to connect; as `Backplane.start`.

        Raises:
            BrokerRefuses: The first broker that was reached does not want us.
        """
        await self._keeper.start(tell)

    async def close(self) -> None:
        """Leave, after what was published has gone out or a moment. Never raises."""
        await self._keeper.close()
        if self._link is not None:
            await self._link.close()

    def restart(self, reason: str) -> None:
        """Drop a link that is up, and connect anew; but one that blocks us says that it is there.

        If it goes meanwhile, its heartbeats end.
        """
        if self._keeper.state is LinkState.UP and not self.link().blocked:
            self.link().fail(reason)

    def link(self) -> Link:
        """The link.

        Raises:
            LinkDown: It is not up.
        """
        self._keeper.require()
        assert self._link is not None
        return self._link

    async def publish(
        self, subject: str, payload: bytes, unheard: Callable[[], None] | None
    ) -> None:
        """As `Backplane.publish`."""
        await self.link().publish(self._options.exchange, subject, self._name, payload, unheard)

    async def listen(self, subjects: Sequence[str]) -> None:
        """Hand what arrives on these over, until `ignore`; as `Backplane.subscribe`."""
        self._subjects.update(dict.fromkeys(subjects))
        await self._ask([self._bind(subject) for subject in subjects])

    async def ignore(self, subjects: Iterable[str]) -> None:
        """Hand over nothing more of these."""
        unwanted = [subject for subject in subjects if subject in self._subjects]
        for subject in unwanted:
            self._subjects.pop(subject, None)
        await self._ask([self._unbind(subject) for subject in unwanted])

    async def probe(self) -> None:
        """As `Backplane.probe`."""
        # Channels deal with one thing after the other: it has dealt with all that came before.
        await self.link().ask([self._declare_exchange(passive=True)])

    # The connection.

    def _turns(self) -> Iterator[Address]:
        for _ in self._options.servers:
            self._servers.rotate(-1)  # so that after one is lost, the next is tried first
            yield self._servers[-1]

    async def _join(self, server: Address) -> None:
        """Have a link with the broker's queue and all bindings; as `Keeper` wants it."""
        if self._link is not None:
            await self._link.ended()  # nothing is left of the last one
        link = self._link = Link(self._arrive, self._keeper.lost, self._most)
        try:
            await self._prepare(link, server)
        except BaseException as error:
            link.fail("it was given up")
            await link.ended()
            if isinstance(error, OSError | UnicodeError):  # LinkDown and TimeoutError are of these
                why = f"{server}: {_words(error)}"
                raise (BrokerRefuses if link.code in _FINAL else LinkDown)(why) from error
            raise

    async def _prepare(self, link: Link, server: Address) -> None:
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

    # What is said and heard on it.

    def _arrive(self, subject: str, sender: str | None, payload: bytes) -> None:
        # What comes before all is bound, or after `ignore`, is for nobody.
        is_up = self._keeper.state is LinkState.UP
        if sender != self._name and is_up and subject in self._subjects:
            self._sink(subject, payload)

    async def _ask(self, questions: Sequence[Frame]) -> None:
        if questions:
            try:
                await self.link().ask(questions)
            except LinkDown:
                pass  # all is bound anew when it is up

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
