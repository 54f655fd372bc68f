"""What comes back over a NATS link: answers to requests, and word that nobody heard a message."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from typing import TypeAlias

from netserver.backplane.unheard import Unheard

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
    published later is dealt with. So a PONG settles all messages before its PING.

    Attributes:
        subject: Where answers are sent, without the last word, which is the token.
        unheard: The messages for which it is open whether somebody hears them.
    """

    def __init__(self) -> None:
        self.subject = f"_INBOX.{token_hex(11)}"
        self.unheard = Unheard(MOST_OPEN)
        self._asked = 0
        self._answers: dict[bytes, Answer] = {}

    def publishing(self, unheard: Callable[[], None]) -> str:
        """Where to tell that nobody hears a message, and what to call then."""
        return f"{self.subject}.{self.unheard.add(unheard)}"

    def asking(self, answer: Answer) -> str:
        """Where to send answers, each of which is handed over until `forget`."""
        self._asked += 1
        token = f"a{self._asked}"  # the others have numbers alone
        self._answers[token.encode()] = answer
        return f"{self.subject}.{token}"

    def forget(self, subject: str) -> None:
        """Take no more answers on one of these."""
        self._answers.pop(subject.rpartition(".")[2].encode(), None)

    def take(self, subject: bytes, reply: bytes, payload: bytes, header: bytes | None) -> None:
        """Hand over what arrived."""
        token = subject.rpartition(b".")[2]
        if answer := self._answers.get(token):
            answer(reply, payload, header)
        elif is_unheard(header):
            self.unheard.tell(token)


def is_unheard(header: bytes | None) -> bool:
    """Whether a header is NATS's word that nobody subscribes."""
    return header is not None and header.startswith(_NO_RESPONDERS)
