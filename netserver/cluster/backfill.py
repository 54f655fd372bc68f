"""The history of a group from before this server had to do with it, from a server that had."""

from __future__ import annotations

import asyncio
import logging
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from attrs import define, field, frozen

from netserver.backlog import OVERHEAD
from netserver.cluster.deadlines import Deadlines
from netserver.cluster.frames import LAST, BadFrame, Frame, Kind, Record, encode, encode_record
from netserver.cluster.history import Entry
from netserver.cluster.interest import Interest
from netserver.cluster.sender import Sender
from netserver.cluster.subjects import Subjects
from netwire import Message

logger = logging.getLogger(__name__)

# How long it may take until this server begins without, seconds.
PATIENCE = 1.0

# How many messages are taken of it at most.
MOST = 100_000

_AT = struct.Struct("!d")


@frozen
class BackfillEntry:
    """One message of it.

    Args:
        message: The message.
        id: What makes it unique.
        at: When it was stored there, seconds since the epoch of Unix.
    """

    message: Message
    id: str
    at: float


@define(eq=False)
class _Question:
    """What this server asked of the others.

    Attributes:
        group: The group.
        done: Called with all that came of it.
        most: How many bytes of it are kept.
        source: Which server was asked to tell; None as long as none has offered to.
        entries: What has come of it.
        size: How much that is, bytes.
    """

    group: str
    most: int
    done: Callable[[list[BackfillEntry]], None]
    source: bytes | None = None
    size: int = 0
    entries: list[BackfillEntry] = field(factory=list)


class Backfill:
    """Asks other servers for the history of a group, and tells them. Owned by the cluster's thread.

    All that have it offer it, and the first that does is asked for it.

    Args:
        sender, subjects, interest: The way to the others.
        entries: What this server has of a group.
    """

    def __init__(
        self,
        sender: Sender,
        subjects: Subjects,
        interest: Interest,
        entries: Callable[[str], Iterable[Entry]],
    ) -> None:
        self._sender = sender
        self._subjects = subjects
        self._interest = interest
        self._entries = entries
        self._questions: Deadlines[_Question] = Deadlines(self._expire)
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, group: str, most: int, done: Callable[[list[BackfillEntry]], None]) -> None:
        """Ask for the history of a group, whose subject is wanted already.

        Args:
            most: How many bytes of it are kept; what would be more is not taken.
            done: Called once with what was said, oldest first; with nothing where nobody knows, or
                it takes too long.
        """
        task = asyncio.get_running_loop().create_task(self._ask(_Question(group, most, done)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, question: _Question) -> None:
        subject = self._subjects.group(question.group)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._interest.ready(subject)
        number = self._questions.add(question, PATIENCE)
        record = encode_record(Kind.ASK_HISTORY, number=number)
        self._sender.add(subject, question.group, record, unheard=self._give_up, number=number)

    def _give_up(self, number: int) -> None:
        if question := self._questions.take(number):
            self._expire(number, question)

    def _expire(self, _number: int, question: _Question) -> None:
        question.done([])

    def take(self, frame: Frame, record: Record) -> None:
        """Another server asks, offers or tells."""
        if record.kind is Kind.ASK_HISTORY:
            if any(True for _ in self._entries(frame.name)):
                offer = encode_record(Kind.OFFER_HISTORY, number=record.number)
                self._answer(frame.sender, [offer])
        elif record.kind is Kind.OFFER_HISTORY:
            self._take_offer(frame.sender, record.number)
        elif record.kind is Kind.FETCH_HISTORY:
            self._give(frame.sender, record)
        else:
            self._take_history(frame.sender, record)

    def _take_offer(self, server: bytes, number: int) -> None:
        question = self._questions.look_at(number)
        if question is not None and question.source is None:
            question.source = server
            body = question.group.encode()
            self._answer(server, [encode_record(Kind.FETCH_HISTORY, body, number=number)])

    def _give(self, server: bytes, record: Record) -> None:
        try:
            group = record.body.decode()
        except UnicodeDecodeError:
            raise BadFrame("a group's name is not UTF-8") from None
        self._answer(server, self._told(group, record.number))

    def _told(self, group: str, number: int) -> Iterator[bytes]:
        """The records that tell the history of a group."""
        for entry in self._entries(group):
            message = entry.message
            flags, body = (0, message.encode()) if isinstance(message, str) else (1, message)
            yield encode(Kind.HISTORY, flags, number, entry.id, _AT.pack(entry.at) + body)
        yield encode(Kind.HISTORY, LAST, number, "", b"")

    def _take_history(self, server: bytes, record: Record) -> None:
        question = self._questions.look_at(record.number)
        if question is None or question.source != server:
            return
        if record.flags & LAST or len(question.entries) >= MOST or question.size > question.most:
            self._questions.take(record.number)
            question.done(question.entries)
            return
        if len(record.body) < _AT.size:
            raise BadFrame("a message of a history without its time")
        (at,) = _AT.unpack_from(record.body)
        record.body = record.body[_AT.size :]
        if not at <= (now := time.time()):  # a clock that is ahead, or no number: it would not age
            at = now
        question.entries.append(BackfillEntry(record.message, record.key, at))
        question.size += len(record.body) + OVERHEAD

    def _answer(self, server: bytes, records: Iterable[bytes]) -> None:
        self._sender.answer(server, records)
