"""``nats://``: NATS, with its clustering, TLS, credentials, and history on JetStream.

    nats://[user:password@]host[:4222][,host2[:4222]…][?options]
    tls+nats://…

Of several servers one is chosen at random, and those of the cluster that it tells of are tried
after them. Options:

- ``token=`` a token, ``creds=`` a credentials file (JWT and seed), ``nkey=`` a file with a seed:
  instead of a user and a password, one of them; files are read anew for each connection.
- with ``tls+nats://``, which refuses a broker without TLS: ``ca=`` the authority's certificate
  instead of the system's, ``cert=`` and ``key=`` this server's own.
- ``history=off`` for no journal; ``stream=FOREMAN`` the stream that keeps it, one for all servers
  that belong together; ``replicas=`` 1, 3 or 5, on how many brokers of a cluster.

A subscription costs some 0.3 KiB here, and no task. That nobody subscribes to what was published is
NATS's own word ("no responders", from nats-server 2.2). While the broker takes no more, publishing
waits; at most 256 KiB and a message are unsent. What arrives is handed on as it is read, and queued
nowhere: a server that is too slow for it is cut off by the broker, and connects anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from netserver.backplane.base import Backplane, LinkState, Receive, Tell, check_subject
from netserver.backplane.errors import PayloadTooLarge
from netserver.backplane.jetstream import JetStreamJournal
from netserver.backplane.nats_options import NatsOptions
from netserver.backplane.nats_session import Session
from netserver.backplane.url import BackplaneUrl


class NatsBackplane(Backplane):
    """One server's end of a NATS broker or cluster.

    Args:
        url: As the module describes it.

    Raises:
        BackplaneUrlError: It is not understood, or a file that it names cannot be used.
    """

    schemes: ClassVar[tuple[str, ...]] = ("nats", "tls+nats")

    def __init__(self, url: BackplaneUrl) -> None:
        options = NatsOptions.read(url)
        self._session = Session(options)
        if options.stream is not None:
            self.journal = JetStreamJournal(self._session, options.stream, options.replicas)

    async def start(self, receive: Receive, tell: Tell) -> None:
        self._receive = receive
        self._told = tell
        await self._session.start(self._tell)

    async def publish(
        self, subject: str, payload: bytes, unheard: Callable[[], None] | None = None
    ) -> None:
        check_subject(subject)
        if len(payload) > self.max_payload:
            raise PayloadTooLarge(len(payload), self.max_payload)
        link = self._session.link()
        if link.full:
            await link.room()
        if unheard is None:
            link.publish_now(subject, payload)
        else:
            await link.publish_asking(subject, payload, unheard)

    async def subscribe(self, subjects: Iterable[str]) -> None:
        await self._session.listen([check_subject(each) for each in subjects], self._arrive)

    async def unsubscribe(self, subjects: Iterable[str]) -> None:
        self._session.ignore(subjects)

    async def probe(self) -> None:
        await self._session.link().ping()

    async def restart(self, reason: str) -> None:
        self._session.restart(reason)

    async def close(self) -> None:
        self.state = LinkState.CLOSED
        await self._session.close()

    def _arrive(self, subject: str, payload: bytes, header: bytes | None) -> None:
        self._receive(subject, payload)

    def _tell(self, state: LinkState, why: str) -> None:
        self.state = state
        self.max_payload = self._session.max_payload
        self._told(state, why)
