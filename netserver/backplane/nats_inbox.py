"""What comes back over a NATS link: answers to requests, and word that nobody heard a message."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from typing import TypeAlias

# With more messages than this for which it is open whether somebody heard them, the link asks.
SETTLE_FROM = 1024

# With so many, publishing waits.
MOST_OPEN = 16 * 1024

# Where the answer goes, payload, and the header if there is one, as it came.
Answer: TypeAlias = Callable[[bytes, bytes, bytes | None], None]

# How the header of an answer begins that is the broker's word and no message.
STATUS = b"NATS/1.0 "
_NO_RESPONDERS = STATUS + b"503"


class Inbox:
    """One subscription for all that is sent back to a link, each to a token of its own.

    That somebody hears a message is not told by NATS; that nobody does, is, before anything that is
    published later is dealt with. So a PONG settles all messages before its PING: whoever was not
    told by then was heard, and `settle` forgets them.

    Attributes:
        subject: Where answers are sent, without the last word, which is the token.
    """

    def __init__(self) -> None:
        self.subject = f"_INBOX.{token_hex(11)}"
        self._token = 0
        self._unheard: dict[bytes, Callable[[], None]] = {}
        self._answers: dict[bytes, Answer] = {}

    @property
    def open_count(self) -> int:
        """For how many messages it is not known yet whether somebody hears them."""
        return len(self._unheard)

    def publishing(self, unheard: Callable[[], None]) -> str:
        """Where to tell that nobody hears a message, and what to call then."""
        token = self._next()
        self._unheard[token] = unheard
        return f"{self.subject}.{token.decode()}"

    def settle(self) -> Callable[[], None]:
        """What to call when all that is open now is settled."""
        tokens = list(self._unheard)

        def settled() -> None:
            for each in tokens:
                self._unheard.pop(each, None)

        return settled

    def asking(self, answer: Answer) -> str:
        """Where to send answers, each of which is handed over until `forget`."""
        token = self._next()
        self._answers[token] = answer
        return f"{self.subject}.{token.decode()}"

    def forget(self, subject: str) -> None:
        """Take no more answers on one of these."""
        self._answers.pop(subject.rpartition(".")[2].encode(), None)

    def take(self, subject: bytes, reply: bytes, payload: bytes, header: bytes | None) -> None:
        """Hand over what arrived."""
        token = subject.rpartition(b".")[2]
        if answer := self._answers.get(token):
            answer(reply, payload, header)
        elif is_unheard(header) and (unheard := self._unheard.pop(token, None)):
            unheard()

    def _next(self) -> bytes:
        self._token += 1
        return b"%d" % self._token


def is_unheard(header: bytes | None) -> bool:
    """Whether a header is NATS's word that nobody subscribes."""
    return header is not None and header.startswith(_NO_RESPONDERS)
