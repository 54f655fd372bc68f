"""``amqp://``: each server has a queue of its own at the broker, bound by subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from netserver.backplane.amqp.options import Options
from netserver.backplane.amqp.session import Session
from netserver.backplane.base import Backplane, LinkState, Receive, Tell, check_subject
from netserver.backplane.url import BackplaneUrl


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
        self._session = Session(Options.read(url), self.max_payload, self._arrive)

    async def start(self, receive: Receive, tell: Tell) -> None:
        self._receive = receive
        self._told = tell
        await self._session.start(self._tell)

    async def publish(
        self, subject: str, payload: bytes, unheard: Callable[[], None] | None = None
    ) -> None:
        self.check(subject, payload)
        await self._session.publish(subject, payload, unheard)

    async def subscribe(self, subjects: Iterable[str]) -> None:
        await self._session.listen([check_subject(each) for each in subjects])

    async def unsubscribe(self, subjects: Iterable[str]) -> None:
        await self._session.ignore(subjects)

    async def probe(self) -> None:
        await self._session.probe()

    async def restart(self, reason: str) -> None:
        self._session.restart(reason)

    async def close(self) -> None:
        self.state = LinkState.CLOSED
        await self._session.close()

    def _arrive(self, subject: str, payload: bytes) -> None:
        self._receive(subject, payload)

    def _tell(self, state: LinkState, why: str) -> None:
        self.state = state
        self._told(state, why)
