"""What carries messages between servers: by subject, to whoever subscribes to it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from enum import Enum
from typing import ClassVar, TypeAlias

from netserver.backplane.errors import PayloadTooLarge, SubjectError
from netserver.backplane.journal import Journal

# A subject on its way to the server, and what came. Called on the backplane's loop.
Receive: TypeAlias = Callable[[str, bytes], None]

# 255 bytes are what AMQP 0-9-1 leaves a routing key; the prefix has to fit too.
LONGEST_SUBJECT = 200

_SUBJECT = re.compile(r"[A-Za-z0-9_~-]+(\.[A-Za-z0-9_~-]+)*")


class LinkState(Enum):
    """How a backplane stands to its broker, or to its peers."""

    DOWN = "down"
    UP = "up"
    CLOSED = "closed"


Tell: TypeAlias = Callable[[LinkState, str], None]


def check_subject(subject: str) -> str:
    """A subject, if it is one: words of letters, digits, ``_``, ``-`` and ``~``, between dots.

    Raises:
        SubjectError: It is none, or longer than 200 bytes.
    """
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise SubjectError(subject, "has words of A-Z, a-z, 0-9, _, - and ~, and dots between them")
    if len(subject) > LONGEST_SUBJECT:
        raise SubjectError(subject, f"is longer than {LONGEST_SUBJECT} characters")
    return subject


class Backplane(ABC):
    """Carries messages between servers. One object is one server's end of it.

    It belongs to the event loop on which `start` was awaited, and is used on no other thread.

    **Guarantees**, the same for every engine and tested by one suite: a message reaches each other
    server that subscribes to its subject at most once; those that one server publishes on one
    subject arrive in order; nothing comes back to its own publisher. What is published while the
    link is down is refused, not kept. After a loss of the link, connecting again and subscribing
    again to everything is the engine's business: `LinkState.UP` is told when that is done, and
    what others published meanwhile is lost.

    Attributes:
        schemes: The schemes of the URLs it is chosen by.
        max_payload: The most bytes of one message; known from `start` on.
        state: How the link stands.
        journal: What keeps history for all servers, on the same link; None where the engine has
            nothing of the kind.
    """

    schemes: ClassVar[tuple[str, ...]]

    max_payload: int = 1024 * 1024
    state: LinkState = LinkState.DOWN
    journal: Journal | None = None

    def check(self, subject: str, payload: bytes) -> None:
        """What every engine looks at before it publishes.

        Raises:
            SubjectError: The subject is none.
            PayloadTooLarge: The message is over `max_payload`.
        """
        check_subject(subject)
        if len(payload) > self.max_payload:
            raise PayloadTooLarge(len(payload), self.max_payload)

    @abstractmethod
    async def start(self, receive: Receive, tell: Tell) -> None:
        """Begin to connect, and go on trying until `close`. Called once.

        It returns when the link is up, or when the first attempt has failed or taken too long, with
        the state still `LinkState.DOWN`: a server starts without its broker, and joins the others
        when that is there.

        Args:
            receive: Called with each message, on the loop; it must be quick.
            tell: Called with each change of the state, and what led to it, in words.

        Raises:
            BackplaneError: It can never work: a certificate that cannot be read, a broker that
                refuses the credentials, a version that is too old.
        """

    @abstractmethod
    async def publish(
        self, subject: str, payload: bytes, unheard: Callable[[], None] | None = None
    ) -> None:
        """Send a message to the other servers that subscribe to its subject.

        It returns when the message is on its way, not when it has arrived, and waits while a
        slow broker takes no more. The engine keeps at most a few hundred KiB.

        Args:
            unheard: Called, on the loop, if no other server subscribes to it: at once or a round
                trip later. Whether it is, where this server itself subscribes, is left open. If
                the link is lost meanwhile, it may not be called at all.

        Raises:
            LinkDown: The link is not up, or was lost meanwhile.
            SubjectError, PayloadTooLarge: As `check`.
        """

    @abstractmethod
    async def subscribe(self, subjects: Iterable[str]) -> None:
        """Receive what others publish on these, until `unsubscribe`.

        When it returns with the link up, whatever any server publishes from then on arrives. With
        the link down it returns at once, and they are subscribed to when it is up. Subscribing
        twice is as good as once.
        """

    @abstractmethod
    async def unsubscribe(self, subjects: Iterable[str]) -> None:
        """Receive nothing more on these; nothing happens for those not subscribed to."""

    @abstractmethod
    async def probe(self) -> None:
        """Go once to the broker and back.

        It returns when the broker has dealt with all that was published before; whoever calls it
        puts a time limit on it, so that a broker which hangs is noticed. Without a broker, it
        returns at once.

        Raises:
            LinkDown: The link is not up, or was lost meanwhile.
        """

    @abstractmethod
    async def restart(self, reason: str) -> None:
        """Drop a link that hangs, and connect anew; does nothing when it is down already."""

    @abstractmethod
    async def close(self) -> None:
        """Leave in good order, within about a second; never raises. Nothing is called after it."""
