"""What keeps messages in order for all servers, beyond the life of any of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TypeAlias

from attrs import frozen


@frozen
class Record:
    """One message of a journal.

    Args:
        offset: Its place; a later message of the same subject has a higher one.
        payload: What was appended.
        at: When it was stored, seconds since the epoch of Unix.
    """

    offset: int
    payload: bytes
    at: float


@frozen
class Page:
    """What a journal has of one subject behind an offset.

    Args:
        epoch: Names the journal itself: offsets of another epoch mean nothing in this one.
        records: In order.
        floor: Nothing of the subject is missing behind this offset: that which was asked for, or,
            where it is not known for sure, the last before the first record that is kept.
        last: The offset of the newest message of the whole journal when it was read: what is
            stored later, on any subject, has a higher one.
    """

    epoch: str
    records: tuple[Record, ...]
    floor: int
    last: int


# Subject, offset of the subject's message before it (0 for none), and the message itself; called
# on the backplane's loop, and must be quick.
Follow: TypeAlias = Callable[[str, int, Record], None]


class Journal(ABC):
    """Stores messages by subject, numbers them, and tells every follower.

    It belongs to a backplane's loop, as the backplane does, and shares its link.

    **Guarantees**: all servers see one order per subject; an append that was answered is kept until
    the limits take it away, through the end of any server and a restart of the broker; one with
    the same ``key`` as another of the last minutes is stored once. Following is at most once, so a
    follower compares offsets: where a message's predecessor is later than the last it had, it has
    missed something, and reads it.
    """

    @abstractmethod
    async def open(self, follow: Follow, *, count: int, age: float) -> None:
        """Make it ready; again after each time the link was down. Not to be called concurrently.

        Args:
            follow: Called with each message of the subjects followed.
            count: How many messages are kept of each subject.
            age: How long they are kept, seconds.

        Raises:
            JournalError: The broker has no such thing, or refuses it.
            LinkDown: There is no link.
        """

    @property
    @abstractmethod
    def epoch(self) -> str:
        """Names the journal; another one after it was lost and made anew. "" before `open`."""

    @abstractmethod
    async def append(self, subject: str, payload: bytes, key: str) -> int:
        """Store a message.

        Args:
            key: Unique for the message: the same one again is not stored again.

        Returns:
            Its offset.

        Raises:
            LinkDown, TimeoutError: It is not known to be stored; try again with the same key.
            JournalError: The broker refused it.
        """

    @abstractmethod
    async def follow(self, subjects: Iterable[str]) -> None:
        """Hear of what is stored on these from the return on, as `Backplane.subscribe` does."""

    @abstractmethod
    async def unfollow(self, subjects: Iterable[str]) -> None:
        """Hear nothing more of these."""

    @abstractmethod
    async def read(self, subject: str, after: int, most: int | None = None) -> Page:
        """All that is kept of a subject behind an offset; 0 for all there is.

        Args:
            most: How many bytes of payloads are wanted: of more, the oldest are left out, as if
                they were not kept any more, but never the newest. None for all.

        Raises:
            LinkDown, TimeoutError: It could not be read.
        """
