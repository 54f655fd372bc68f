"""``nats://``: a subscription for each subject, and the journal on the same link."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from netserver.backplane.base import Backplane, LinkState, Receive, Tell, check_subject
from netserver.backplane.nats.jetstream import JetStreamJournal
from netserver.backplane.nats.options import Options
from netserver.backplane.nats.session import Session
from netserver.backplane.url import BackplaneUrl


class NatsBackplane(Backplane):
    """One server's end of a NATS broker or cluster.

    Args:
        url: As the package tells.

    Raises:
        BackplaneUrlError: As `Options.read`.
    """

    schemes: ClassVar[tuple[str, ...]] = ("nats", "tls+nats")

    def __init__(self, url: BackplaneUrl) -> None:
        options = Options.read(url)
        self._session = Session(options)
        if options.stream is not None:
            self.journal = JetStreamJournal(
                self._session, options.stream, options.replicas, options.max_bytes
            )

    async def start(self, receive: Receive, tell: Tell) -> None:
        self._receive = receive
        self._told = tell
        await self._session.start(self._tell)

    async def publish(
        self, subject: str, payload: bytes, unheard: Callable[[], None] | None = None
    ) -> None:
        self.check(subject, payload)
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
