"""History on JetStream, so that what a client missed survives any server.

One stream keeps all subjects, in files: ``FOREMAN.h.>`` if its name is ``FOREMAN``. It is made when
it is not there; limits are raised, never lowered, for other servers may have chosen them. Beyond
one of them the oldest messages go: of the subject by count, of all by age and by bytes. An offset
is a message's sequence in the stream; the time at which the stream was made is the epoch. A message
is stored under its key (``Nats-Msg-Id``), so that the same one, sent again within two minutes,
is not stored again.

The stream publishes what it has stored once more, under ``FOREMAN.r.>``, with its sequence and that
of the one before it on the same subject. So a follower is an ordinary subscriber, of which the
broker keeps no state, and notices by itself when it has missed something.

Reading makes a consumer that lives as long as the reading, and fetches from it in batches: a round
trip for up to 256 messages, where getting them one by one (``DIRECT.GET``) takes one for each.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from netserver.backplane.base import check_subject
from netserver.backplane.errors import JournalError, PayloadTooLarge
from netserver.backplane.journal import Follow, Journal, Page, Record
from netserver.backplane.nats.inbox import is_unheard
from netserver.backplane.nats.link import Link
from netserver.backplane.nats.session import Session
from netserver.backplane.nats.turns import Turns

ANSWER_TIMEOUT = 5.0  # seconds; for each question to the broker
OPEN_ATTEMPTS = 3  # of which a cluster may need some while it chooses a leader
DUPLICATES = 120.0  # seconds; in which the same key is not stored again

BATCH = 256  # messages fetched at once, or as many bytes as fit two of the largest
READERS = 16  # readings at a time; each has a consumer
IDLE = 10.0  # seconds, after which the broker drops a consumer that was left behind

# JetStream's error codes (server/errors.json of nats-server).
_STREAM_NOT_FOUND = 10059
_STREAM_IS_OTHER = 10058
_NO_MESSAGE = 10037
_NO_STORAGE = 10047

_KEY = re.compile(r"[!-~]{1,200}")
_SEQUENCE = re.compile(rb"\r\nNats-Sequence: (\d+)\r\n")
_LAST_SEQUENCE = re.compile(rb"\r\nNats-Last-Sequence: (\d+)\r\n")
_LEAST = re.compile(r"at least (\d+) ")
_NANOSECONDS = 1_000_000_000


class _Refusal(JournalError):
    """JetStream's answer is an error.

    Attributes:
        code: Its code; None where nothing of JetStream's is there to answer.
    """

    def __init__(self, reason: str, code: int | None) -> None:
        super().__init__(reason)
        self.code = code


class JetStreamJournal(Journal):
    """The journal of a NATS backplane.

    Args:
        session: The backplane's.
        stream: The name of the stream.
        replicas: On how many brokers of a cluster a stream that is made here is kept.
        max_bytes: How much of a broker's disk it takes at least before the oldest messages go.
    """

    def __init__(self, session: Session, stream: str, replicas: int, max_bytes: int) -> None:
        self._session = session
        self._stream = stream
        self._replicas = replicas
        self._max_bytes = max_bytes
        self._kept = f"{stream}.h."
        self._told = f"{stream}.r."
        self._epoch = ""
        self._least = 0
        self._turns: Turns | None = None
        self._readers = asyncio.Semaphore(READERS)

    async def open(self, follow: Follow, *, count: int, age: float) -> None:
        if self._turns is not None:
            self._turns.clear()
        self._turns = Turns(follow)
        for attempt in range(OPEN_ATTEMPTS):
            try:
                stream = await self._prepare(count, age)
            except TimeoutError as error:
                if attempt == OPEN_ATTEMPTS - 1:
                    raise JournalError(str(error) or "JetStream does not answer") from error
            except _Refusal as error:
                if error.code is None:
                    reason = "JetStream is not enabled: start nats-server with -js, or have no"
                    raise JournalError(f"{reason} history with ?history=off") from error
                if error.code == _NO_STORAGE:
                    reason = f"{self._max_bytes} bytes for the stream {self._stream}"
                    raise JournalError(
                        f"JetStream has no room for {reason}: have less with ?max_bytes="
                    ) from error
                raise
            else:
                break
        self._epoch = stream["created"]
        least = _LEAST.search(stream["config"].get("description", ""))
        self._least = int(least[1]) if least else 0

    @property
    def epoch(self) -> str:
        return self._epoch

    async def append(self, subject: str, payload: bytes, key: str) -> int:
        check_subject(subject)
        if not _KEY.fullmatch(key):
            raise JournalError(f"a key has up to 200 printable characters, not {key!r}")
        header = f"NATS/1.0\r\nNats-Msg-Id: {key}\r\n\r\n"
        if len(payload) + len(header) > self._session.max_payload:
            raise PayloadTooLarge(len(payload), self._session.max_payload - len(header))
        link = self._session.link()
        try:
            answer = await self._ask(link, self._kept + subject, payload, header)
        except _Refusal as error:
            if error.code is None:  # the stream has no leader at the moment
                raise TimeoutError(f"no stream takes {subject}") from error
            raise
        sequence: int = answer["seq"]
        return sequence

    async def follow(self, subjects: Iterable[str]) -> None:
        told = [self._told + check_subject(each) for each in subjects]
        await self._session.listen(told, self._arrive)

    async def unfollow(self, subjects: Iterable[str]) -> None:
        left = list(subjects)
        self._session.ignore([self._told + each for each in left])
        if self._turns is not None:
            for each in left:
                self._turns.forget(each)

    async def read(self, subject: str, after: int, most: int | None = None) -> Page:
        kept = self._kept + check_subject(subject)
        async with self._readers:
            link = self._session.link()
            records, floor = await self._records(link, kept, after, most)
            # From here on in this order: each question is about what was there before it was asked.
            stream = await self._api(link, f"STREAM.INFO.{self._stream}")
            self._epoch = stream["created"]
            state = stream["state"]
            newest = records[-1].offset if records else after
            last: int = state["last_seq"]
            if newest < last and await self._get(link, last_by_subj=kept) > newest:
                last = newest  # more was stored meanwhile, and will be heard of by who follows
            if state["first_seq"] > after + 1 or floor > after or len(records) >= self._least:
                # Some behind the offset may have been dropped. The oldest are, first: so none was
                # if one before it is still there.
                first = await self._get(link, seq=1, next_by_subj=kept)
                floor = max(floor, (first or last + 1) - 1)
        return Page(self._epoch, tuple(records), floor, last)

    async def _records(
        self, link: Link, kept: str, after: int, most: int | None
    ) -> tuple[deque[Record], int]:
        """What there is behind an offset when it begins, and the offset of the last left out."""
        settings = {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": after + 1,
            "filter_subject": kept,
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": int(IDLE * _NANOSECONDS),
            "mem_storage": True,
            "num_replicas": 1,
        }
        consumer = await self._api(
            link,
            f"CONSUMER.CREATE.{self._stream}",
            {"stream_name": self._stream, "config": settings},
        )
        records: deque[Record] = deque()
        size = 0
        floor = after
        pending = consumer["num_pending"]
        name = f"{self._stream}.{consumer['name']}"
        try:
            while pending:
                batch = min(pending, BATCH)
                room = 2 * link.max_payload + (64 << 10)
                order = {"batch": batch, "no_wait": True, "max_bytes": room}
                fetched = await link.collect(
                    f"$JS.API.CONSUMER.MSG.NEXT.{name}", _encode(order), batch, ANSWER_TIMEOUT
                )
                if not fetched:
                    break  # what was left has been dropped meanwhile
                for reply, payload in fetched:
                    offset, at, pending = _numbers(reply)
                    records.append(Record(offset, payload, at))
                    size += len(payload)
                    while most is not None and size > most and len(records) > 1:
                        oldest = records.popleft()
                        size -= len(oldest.payload)
                        floor = oldest.offset
        finally:
            if link.alive:
                link.publish_now(f"$JS.API.CONSUMER.DELETE.{name}", b"")
        return records, floor

    def _arrive(self, told: str, payload: bytes, header: bytes | None) -> None:
        sequence = _SEQUENCE.search(header or b"")
        before = _LAST_SEQUENCE.search(header or b"")
        if self._turns is None or not (sequence and before):
            return  # somebody else publishes under the stream's subjects
        record = Record(int(sequence[1]), payload, time.time())
        self._turns.take(told.removeprefix(self._told), int(before[1]), record)

    async def _prepare(self, count: int, age: float) -> dict[str, Any]:
        """The stream, made or with its limits raised where that is needed."""
        link = self._session.link()
        try:
            stream = await self._api(link, f"STREAM.INFO.{self._stream}")
        except _Refusal as error:
            if error.code != _STREAM_NOT_FOUND:
                raise
            try:
                return await self._api(
                    link, f"STREAM.CREATE.{self._stream}", self._configuration(count, age)
                )
            except _Refusal as other:
                if other.code != _STREAM_IS_OTHER:
                    raise
            stream = await self._api(link, f"STREAM.INFO.{self._stream}")  # made meanwhile
        config: dict[str, Any] = stream["config"]
        ours = self._configuration(count, age)
        for name in ("subjects", "republish", "retention", "discard"):
            if config.get(name) != ours[name]:
                raise JournalError(
                    f"the stream {self._stream} is another's, with {name} {config.get(name)!r}: "
                    "choose one with ?stream="
                )
        limits = "max_msgs_per_subject", "max_age", "max_bytes"
        raised = {name: _larger(config, ours, name) for name in limits}
        if any(config[name] != limit for name, limit in raised.items()):
            stream = await self._api(link, f"STREAM.UPDATE.{self._stream}", {**config, **raised})
        return stream

    def _configuration(self, count: int, age: float) -> dict[str, Any]:
        nanoseconds = int(age * _NANOSECONDS)
        return {
            "name": self._stream,
            # The least count that it ever had tells which subjects were surely never cut short.
            "description": f"history of groups, at least {count} messages of each",
            "subjects": [f"{self._kept}>"],
            "retention": "limits",
            "discard": "old",
            "storage": "file",
            "num_replicas": self._replicas,
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": self._max_bytes,
            "max_msgs_per_subject": count,
            "max_age": nanoseconds,
            "duplicate_window": min(nanoseconds, int(DUPLICATES * _NANOSECONDS)),
            "republish": {"src": f"{self._kept}>", "dest": f"{self._told}>"},
        }

    async def _get(self, link: Link, **which: Any) -> int:
        """The sequence of a message, as the stream's leader has it; 0 where there is none."""
        try:
            answer = await self._api(link, f"STREAM.MSG.GET.{self._stream}", which)
        except _Refusal as error:
            if error.code == _NO_MESSAGE:
                return 0
            raise
        sequence: int = answer["message"]["seq"]
        return sequence

    async def _api(self, link: Link, name: str, question: object = None) -> dict[str, Any]:
        return await self._ask(link, f"$JS.API.{name}", _encode(question) if question else b"")

    async def _ask(
        self, link: Link, subject: str, payload: bytes, header: str = ""
    ) -> dict[str, Any]:
        """One question to JetStream.

        Raises:
            LinkDown: The link was lost.
            TimeoutError: There was no answer, or JetStream is not ready to give one.
            _Refusal: The answer is an error.
        """
        said, status = await link.ask(subject, payload, ANSWER_TIMEOUT, header)
        if is_unheard(status):
            raise _Refusal("nobody answers", None)
        try:
            answer = json.loads(said)
            error = answer.get("error")
        except (ValueError, AttributeError):
            raise JournalError(f"an answer that cannot be read: {said[:100]!r}") from None
        if error is not None:
            if error.get("code") == 503:
                raise TimeoutError(error.get("description"))
            raise _Refusal(error.get("description", "an error"), error.get("err_code", 0))
        assert isinstance(answer, dict)
        return answer


def _encode(question: object) -> bytes:
    return json.dumps(question, separators=(",", ":")).encode()


def _larger(config: dict[str, Any], ours: dict[str, Any], name: str) -> int:
    """The larger of two limits, of which what is not positive is none."""
    limits: tuple[int, int] = config[name], ours[name]
    return min(limits) if min(limits) <= 0 else max(limits)


def _numbers(reply: bytes) -> tuple[int, float, int]:
    """Of a message from a consumer: its sequence, when it was stored, how many come after it.

    Its reply is ``$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<number>.<ns>.<pending>``;
    with a domain and an account before the stream, and one word more at the end, in later versions.
    """
    words = reply.split(b".")
    start = 5 if len(words) == 9 else 7
    return int(words[start]), int(words[start + 2]) / _NANOSECONDS, int(words[start + 3])
